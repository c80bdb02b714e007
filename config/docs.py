"""The API reference at /docs: the OpenAPI document as a page for people, with samples in three languages.

What the API does, the views say (see `api/openapi.py`); the texts that belong to no single operation are in
`templates/docs/`. Nothing here needs a script: the page is made once per process and theme.
"""

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify

from api.errors import STATUS
from api.limits import ANONYMOUS
from api.openapi import document
from dashboard.calls import LANGUAGES, as_json, colour, samples
from dashboard.templatetags.ui import theme

Json = dict[str, Any]

# What each code means to whoever meets it.
CODES = {
    "invalid_request": "A field is wrong or missing; details.errors names each, with what is allowed.",
    "invalid_json": "The body is not JSON; the message says where it breaks.",
    "unknown_parameter": "A field or query parameter that this address does not know.",
    "authentication_failed": "No key, or none of ours.",
    "token_expired": "The key has expired: make or rotate one.",
    "key_revoked": "The key was revoked, or its maker has left the account.",
    "budget_exceeded": "A budget of yours stops new spending.",
    "forbidden": "This is not allowed to you.",
    "insufficient_scope": "The key lacks the scope in required_scopes.",
    "quota_exceeded": "The plan's limit is reached: details has limit, used and requested.",
    "https_required": "The request came in the clear. Use https, and rotate the key that was sent.",
    "ip_not_allowed": "The key may not be used from this address.",
    "account_suspended": "The account can be read but not changed.",
    "not_found": "There is no such thing in your account.",
    "method_not_allowed": "The address exists, but not with this method; Allow lists those it has.",
    "not_acceptable": "Answers are JSON: send Accept: application/json or nothing.",
    "wait_timeout": "It did not happen within the time; details says how it stands.",
    "invalid_state": "Not possible in this state: details has current and allowed_from.",
    "conflict": "It contradicts something that exists.",
    "resource_in_use": "Something still uses it: details.used_by.",
    "protected": "It is protected: take protected away first.",
    "insufficient_capacity": "There is no room for it now.",
    "idempotency_in_progress": "The first request with this key still runs. Try again shortly.",
    "gone": "It existed and was removed for good.",
    "precondition_failed": "It was changed since you read it: If-Match no longer matches.",
    "payload_too_large": "The body is larger than is allowed.",
    "unsupported_media_type": "Send application/json.",
    "idempotency_key_reused": "The Idempotency-Key was used with another body. Use a new one.",
    "rate_limit_exceeded": "Too many requests: wait retry_after seconds.",
    "concurrency_exceeded": "Too many at the same time: wait retry_after seconds.",
    "server_error": "Our fault. The request id finds it in our log.",
    "service_unavailable": "Not now. Wait retry_after seconds and try again.",
}
# The reference is of the API: the command line has its own help.
PROGRAMS = ("curl", "python", "javascript")
METHODS = ["get", "post", "put", "patch", "delete"]
MOMENT = "2026-11-03T09:30:00Z"


def docs(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_page(theme(Context({"request": request}))))


@cache
def _page(chosen: str) -> bytes:
    codes = [(status, HTTPStatus(status).phrase, code, CODES[code]) for code, status in STATUS.items()]
    context = {
        "chosen": chosen,
        "base_url": settings.LAMBDA_BASE_URL,
        "languages": {name: LANGUAGES[name] for name in PROGRAMS},
        "groups": reference(),
        "codes": codes,
        "anonymous": ANONYMOUS,
    }
    return render(None, "docs/reference.html", context).content


@cache
def reference() -> list[Json]:
    """The document's operations by tag: what the template shows."""
    groups = {
        tag["name"]: {
            "name": tag["name"],
            "slug": slugify(tag["name"]),
            "text": prose(tag["description"]),
            "operations": [],
        }
        for tag in document()["tags"]
    }
    for path, item in document()["paths"].items():
        for method, operation in sorted(item.items(), key=lambda pair: METHODS.index(pair[0])):
            group: Json = groups[operation["tags"][0]]
            group["operations"].append(_operation(method.upper(), path, operation))
            if operation["operationId"].endswith("_get"):
                group["object"] = _answer_data(operation)
    for group in groups.values():
        if shape := group.pop("object", None):
            group["noun"] = group["name"].removesuffix("s")
            group["fields"] = fields(shape)
            group["example"] = colour(as_json(example(shape)))
    return list(groups.values())


def _operation(method: str, path: str, spec: Json) -> Json:
    content = spec.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = resolve(content.get("schema", {}))
    status = next(code for code in spec["responses"] if code.startswith("2"))
    sent = next(iter(body.get("examples", [])), None)
    parameters = spec.get("parameters", [])
    return {
        "id": spec["operationId"],
        "summary": spec["summary"],
        "text": prose(spec.get("description", "")),
        "method": method,
        "path": _marked(path, "({\\w+})", "b"),
        "scope": spec.get("x-required-scope"),
        "public": {} in spec["security"],
        "in_path": [_parameter(one) for one in parameters if one["in"] == "path"],
        "in_query": [_parameter(one) for one in parameters if one["in"] == "query"],
        "in_body": fields(body, sent=True),
        "answers": [code for code in spec["responses"] if code < "400"],
        "refusals": [code for code in spec["responses"] if code >= "400"],
        "samples": [one for one in samples(method, _filled(path, parameters), sent) if one.language in PROGRAMS],
        "status": f"{status} {HTTPStatus(int(status)).phrase}",
        "answer": colour(as_json(example(_answer(spec, status), whole=status == "201"))),
    }


def _answer(spec: Json, status: str) -> Json:
    found: Json = spec["responses"][status]["content"]["application/json"]["schema"]
    return found


def _answer_data(spec: Json) -> Json:
    whole = _answer(spec, "200")
    found: Json = resolve(resolve(whole).get("properties", {}).get("data", whole))
    return found


def resolve(schema: Json) -> Json:
    """The schema itself, or the one that it points to, with what is said beside the pointer."""
    if "$ref" not in schema:
        return schema
    target = document()
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return target | {key: value for key, value in schema.items() if key != "$ref"}


def _parameter(one: Json) -> Json:
    return _field(one["name"], one["schema"] | {"description": one.get("description", "")})


def fields(schema: Json, before: str = "", *, sent: bool = False) -> list[Json]:
    """The rows that describe an object; what is inside of another has a dotted name. `sent`: say what is required."""
    rows = []
    for name, shape in schema.get("properties", {}).items():
        rows.append(_field(f"{before}{name}", shape, required=sent and name in schema.get("required", ())))
        inner = _plain(resolve(shape))
        rows += fields(inner if inner.get("type") == "object" else {}, f"{before}{name}.", sent=sent)
    return rows


def _field(name: str, shape: Json, *, required: bool = False) -> Json:
    shape = resolve(shape)
    facts = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "maxLength": "up to {} characters",
        "maxItems": "up to {}",
    }
    limits = [text.format(f"{shape[key]:,}") for key, text in facts.items() if key in shape]
    default = [f"default {json.dumps(shape['default'])}"] if "default" in shape else []
    return {
        "name": name,
        "type": type_of(shape),
        "text": prose(shape.get("description", "")),
        "choices": [choice for choice in _plain(shape).get("enum", ()) if choice is not None],
        "limits": ", ".join([*limits, *default]),
        "required": required,
    }


def _plain(schema: Json) -> Json:
    """A schema without its null."""
    for option in schema.get("oneOf", ()):
        if option.get("type") != "null":
            return resolve(option)
    return schema


def type_of(schema: Json) -> str:
    """A type in words: `string or null`, `array of strings`, `object`."""
    schema = resolve(schema)
    if options := schema.get("oneOf"):
        return " or ".join(type_of(option) for option in options)
    kinds = schema.get("type", "any value")
    if isinstance(kinds, list):
        return " or ".join(type_of(schema | {"type": kind}) for kind in kinds)
    if kinds == "array":
        return f"array of {type_of(schema.get('items', {}))}s"
    words = {"date-time": "time", "date": "date", "uri": "URL"} if kinds == "string" else {}
    return words.get(schema.get("format", ""), str(kinds))


def example(schema: Json, *, whole: bool = False) -> Any:
    """A value that the schema describes; `whole`: with the members that are not always there."""
    schema = resolve(schema)
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    if "const" in schema or "default" in schema:
        return schema.get("const", schema.get("default"))
    kind = schema.get("type", "null" if "oneOf" not in schema else "")
    if isinstance(kind, list):
        return None
    if not kind:
        return example(_plain(schema), whole=whole)
    if kind == "object":
        wanted = schema.get("properties", {})
        names = wanted if whole else [name for name in wanted if name in schema.get("required", ())]
        return {name: example(wanted[name], whole=whole) for name in names}
    if kind == "array":
        return [example(schema["items"], whole=whole)]
    if kind == "string":
        return MOMENT if schema.get("format") == "date-time" else "…"
    return {"integer": schema.get("minimum", 1), "number": 0.5, "boolean": True, "null": None}[kind]


def _filled(path: str, parameters: list[Json]) -> str:
    """The path with an example in the place of each name."""
    for one in parameters:
        path = path.replace(
            f"{{{one['name']}}}", str(next(iter(one["schema"].get("examples", [])), f"<{one['name']}>"))
        )
    return path


def prose(text: str) -> SafeString:
    """A docstring as HTML: lines flow into paragraphs, and what is in backticks is code."""
    return _marked(re.sub(r"(?<!\n)\n(?!\n)", " ", text), "`([^`]+)`", "code")


def _marked(text: str, pattern: str, tag: str) -> SafeString:
    """The text as HTML with each match of the pattern's group in an element."""
    parts = enumerate(re.split(pattern, text))
    opened = mark_safe(f"<{tag}>"), mark_safe(f"</{tag}>")  # noqa: S308  (our own tag names)
    return format_html_join(
        "", "{}{}{}", ((opened[0], part, opened[1]) if at % 2 else ("", part, "") for at, part in parts)
    )
