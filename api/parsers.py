"""Reading bodies: strict JSON, whatever a client sends. Every refusal says where and why."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rest_framework.parsers import BaseParser

from api.errors import InvalidJson, PayloadTooLarge, UnsupportedMediaType

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
_JSON_TYPES = {"application/json", "application/merge-patch+json"}
# curl -d without a Content-Type calls everything a form; the document's own sample does so.
_GUESSED_TYPES = {"application/x-www-form-urlencoded", "text/plain", ""}


@dataclass(frozen=True)
class RawBody:
    """A body that is taken as bytes, whatever its Content-Type says. `schema` and `example` are for the reference."""

    max_bytes: int
    media_type: str
    schema: dict[str, Any]
    example: bytes

    def read(self, stream: Any, *, chunked: bool) -> bytes:
        # The middleware has cut a chunked body off at MAX_BYTES: it would have held it in memory for anybody.
        most = min(self.max_bytes, MAX_BYTES) if chunked else self.max_bytes
        body: bytes = stream.read(most + 1)
        if len(body) > most:
            hint = ": send it with a Content-Length, not in chunks" if chunked and most < self.max_bytes else ""
            raise PayloadTooLarge(f"The request body is over {most} bytes{hint}")
        return body


class StrictJSONParser(BaseParser):
    """Reads JSON, or the bytes of a view's action that has a `RawBody`."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        view: Any = (parser_context or {}).get("view")
        if raw := getattr(view, "raw", {}).get(getattr(view, "action", None)):
            chunked = view.request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
            return raw.read(stream, chunked=chunked)
        declared = (media_type or "").split(";")[0].strip().lower()
        if declared not in _JSON_TYPES | _GUESSED_TYPES:
            raise UnsupportedMediaType(f"The body must be application/json, not {declared}")
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge(f"The request body is over {MAX_BYTES} bytes")
        if declared in _GUESSED_TYPES and body and body.lstrip()[:1] not in (b"{", b"["):
            raise UnsupportedMediaType(
                "The body must be application/json: send JSON and Content-Type: application/json"
            )
        return loads(body)


def loads(body: bytes) -> Any:
    """Strict JSON from bytes; an empty body is an empty object. Raises InvalidJson."""
    if not body.strip():
        return {}
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            raise InvalidJson("it begins with a byte order mark (BOM): save the file without it")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as broken:
        raise InvalidJson(f"byte {broken.start} is not UTF-8") from None
    except json.JSONDecodeError as broken:
        raise InvalidJson(f"{broken.msg} at line {broken.lineno}, column {broken.colno}") from None
    except RecursionError:
        raise InvalidJson(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise InvalidJson("a number has thousands of digits") from None
    for part, depth in _walk(value):
        _check(part, depth)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidJson(f"the name {json.dumps(twice)} appears twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise InvalidJson(f"{name} is not JSON")


def _walk(value: Any) -> Iterator[tuple[Any, int]]:
    """Every key and value with its depth, without recursion."""
    rest = [(value, 1)]
    while rest:
        part, depth = rest.pop()
        yield part, depth
        if isinstance(part, dict):
            rest += [(inner, depth + 1) for pair in part.items() for inner in pair]
        elif isinstance(part, list):
            rest += [(inner, depth + 1) for inner in part]


def _check(part: Any, depth: int) -> None:
    if depth > MAX_DEPTH + 1:
        raise InvalidJson(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(part, str):
        if "\x00" in part:
            raise InvalidJson("a text contains the NUL character")
        try:
            part.encode()
        except UnicodeEncodeError:
            raise InvalidJson("a text contains half a surrogate pair") from None
    elif isinstance(part, int) and not -(2**63) <= part < 2**63:
        raise InvalidJson("a number does not fit 64 bits")
    elif isinstance(part, float) and part in (float("inf"), float("-inf")):
        raise InvalidJson("a number is too large")
