"""API calls as people would write them, in curl, Python, JavaScript and for the command line, with colours.

The dashboard shows with each button the call that does the same (`{% call %}`), the reference at /docs each operation.
The key in them is the environment's `LAMBDA_API_KEY`, never a real one.
"""

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

LANGUAGES = {"curl": "curl", "python": "Python", "javascript": "JavaScript", "cli": "CLI"}
TOKEN = re.compile(
    r"""(?P<key>"[\w.-]+"(?=:))|(?P<string>"(?:\\.|[^"\\])*"|'[^']*')|(?P<number>(?<![\w.:/])-?\d+(?:\.\d+)?(?![\w.-]))"""
    r"""|(?P<word>\b(?:true|false|null|True|False|None|import|const|await|from)\b|(?<=\s)--?[A-Za-z][\w-]*(?=\s|$))"""
)
WIDTH = 76  # characters of a command before it is broken into lines
# In an address, what is not the name of a collection or an action: ids, and the places where they stand.
ID = re.compile(r"[a-z]+_[0-9a-z]{26}|(RES|FUNC)_\d+|\d+|[{<].*[}>]")


class Sample(NamedTuple):
    """One call in one language: the language's slug, its name, the code as HTML."""

    language: str
    name: str
    code: SafeString


@dataclass(frozen=True)
class Call:
    """What a button does, as a call: `Call("Stop", "POST", "/v1/instances/inst_…/stop", {"force": True})`."""

    title: str
    method: str
    path: str
    body: Any = None

    def samples(self, base_url: str) -> list[Sample]:
        return samples(self.method, self.path, self.body, base_url)


def samples(method: str, path: str, body: Any = None, base_url: str = "") -> list[Sample]:
    """One request in every language. `path` begins with /v1; `base_url` is where the reader reaches this Lambda."""
    url = (base_url or settings.LAMBDA_BASE_URL) + path
    made = {
        "curl": curl(method, url, as_json(body) if body else ""),
        "python": _python(method, url, body),
        "javascript": _javascript(method, url, body),
        "cli": cli(method, path, body),
    }
    return [Sample(language, name, colour(made[language])) for language, name in LANGUAGES.items()]


def curl(method: str, url: str, body: str = "") -> str:
    """The request as one would type it; `body` is JSON."""
    asked = "" if method.upper() == "GET" else f"-X {method.upper()} "
    lines = [f"curl {asked}{shlex.quote(url)}", '-H "Authorization: Bearer $LAMBDA_API_KEY"']
    if body:
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)


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


def cli(method: str, path: str, body: Any = None) -> str:
    """`lambda instances stop inst_… --force`: the address' words, its ids, then query and body as flags.

    A word that ends in s is a collection, whose verb the method says (list, create; of one thing get, update, delete);
    any other is the verb itself. `api-key` is singular because the documents write it so.
    """
    address, _, query = path.removeprefix("/v1/").partition("?")
    parts = address.split("/")
    words, names = [part for part in parts if not ID.fullmatch(part)], [part for part in parts if ID.fullmatch(part)]
    if ID.fullmatch(parts[-1]) or parts == ["account"]:
        words.append({"GET": "get", "POST": "create", "DELETE": "delete"}.get(method, "update"))
    elif words[-1].endswith("s"):
        words.append({"GET": "list", "POST": "create", "DELETE": "delete"}.get(method, "set"))
    command = f"lambda {' '.join(words)}".replace("lambda account api-keys", "lambda api-key")
    flags = [flag for name, value in parse_qsl(query) for flag in _flags(name, value)]
    if isinstance(body, dict) and words[-1] != "invoke":
        flags += [flag for name, value in body.items() for flag in _flags(name, value)]
    elif body is not None:
        flags.append(f"--data {shlex.quote(json.dumps(body, ensure_ascii=False))}")
    whole = [" ".join([command, *names]), *flags]
    return (" " if len(" ".join(whole)) <= WIDTH else " \\\n  ").join(whole)


def _flags(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [f"{flag} {shlex.quote(one)}" for one in value]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [f"{flag} {shlex.quote(text)}"]


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
