"""Requests as people would write them, in curl, Python and JavaScript, with colours: for the reference at /docs."""

import json
import re
from typing import Any

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from api.browsable import curl

LANGUAGES = {"curl": "curl", "python": "Python", "javascript": "JavaScript"}
TOKEN = re.compile(
    r"""(?P<key>"[\w.-]+"(?=:))|(?P<string>"(?:\\.|[^"\\])*"|'[^']*')|(?P<number>(?<![\w.:/])-?\d+(?:\.\d+)?(?![\w.-]))"""
    r"""|(?P<word>\b(?:true|false|null|True|False|None|import|const|await|from)\b|(?<=\s)-[A-Za-z]+(?=\s))"""
)


def samples(method: str, path: str, body: Any) -> list[tuple[str, str, SafeString]]:
    """(language, its name, code) of one request."""
    url = settings.LAMBDA_BASE_URL + path
    made = {
        "curl": curl(method, url, as_json(body) if body else ""),
        "python": _python(method, url, body),
        "javascript": _javascript(method, url, body),
    }
    return [(language, name, colour(made[language])) for language, name in LANGUAGES.items()]


def _python(method: str, url: str, body: Any) -> str:
    lines = [f'"{url}",', """headers={"Authorization": f"Bearer {os.environ['LAMBDA_API_KEY']}"},"""]
    if body is not None:
        lines.append(f"json={_indented(_literal(body))},")
    call = "\n".join(f"    {line}" for line in lines)
    return f"import os, requests\n\nresponse = requests.{method.lower()}(\n{call}\n)\nprint(response.json())"


def _javascript(method: str, url: str, body: Any) -> str:
    lines = ["headers: {", "  Authorization: `Bearer ${process.env.LAMBDA_API_KEY}`,", "},"]
    if body is not None:
        lines[2:2] = ['  "Content-Type": "application/json",']
        lines.append(f"body: JSON.stringify({_indented(as_json(body), 2)}),")
    if method != "GET":
        lines.insert(0, f'method: "{method}",')
    call = "\n".join(f"  {line}" for line in lines)
    return f'const response = await fetch("{url}", {{\n{call}\n}});\nconsole.log(await response.json());'


def as_json(value: Any) -> str:
    """Indented, but short lists and objects on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    short = r"([\[{])\n\s+([^\[\]{}]{1,60}?)\n\s+([\]}])"
    return re.sub(short, lambda found: found[1] + re.sub(r"\n\s+", " ", found[2]) + found[3], text)


def _literal(value: Any) -> str:
    """The same as Python writes it."""
    words = {"true": "True", "false": "False", "null": "None"}
    return re.sub(
        r'"(?:\\.|[^"\\])*"|\b(?:true|false|null)\b', lambda found: words.get(found[0], found[0]), as_json(value)
    )


def _indented(text: str, by: int = 4) -> str:
    return text.replace("\n", "\n" + " " * by)


def colour(code: str) -> SafeString:
    """Code as HTML, its strings, numbers and words in spans."""
    found, end = SafeString(""), 0
    for token in TOKEN.finditer(code):
        found += format_html('{}<span class="{}">{}</span>', code[end : token.start()], token.lastgroup, token[0])
        end = token.end()
    return found + format_html("{}", code[end:])
