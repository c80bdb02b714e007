"""What a delivery looks like on the wire, and its signatures. Pure: no database, no clock, no network.

E is the body without `signature`, as compact JSON. The body is E with `signature` as its last member: a receiver gets
E back by cutting the last 87 bytes and adding `}`, or by parsing, deleting `signature` and writing compact JSON again.
So E has no floats, no integers beyond ±2^53 and no keys that look like integers, which languages write differently.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

STANDARD = "whsec_"
MIN_SECRET, MAX_SECRET = 16, 256  # bytes of the HMAC key; characters
EXACT = 2**53  # beyond it JavaScript's numbers are no longer exact
_INTEGER_LIKE = re.compile(r"0|[1-9][0-9]*")


class Signed(NamedTuple):
    """One delivery: the bytes of its body, `sha256=…` as in the body, and the headers that depend on both."""

    body: bytes
    signature: str
    headers: dict[str, str]


def unsigned(id: str, type: str, at: datetime, subject: str, data: Mapping[str, Any]) -> bytes:
    """E of an event. `subject` is the kind that `data` tells of: its id, name and status come first.

    Databases keep the members of JSON objects in orders of their own; here the order depends on the names alone.
    """
    first = [name for name in (f"{subject}_id", "name", "status") if name in data]
    ordered = {name: data[name] for name in [*first, *sorted(name for name in data if name not in first)]}
    body = {"id": id, "type": type, "timestamp": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "data": plain(ordered)}
    return orjson.dumps(body)


def plain(value: Any) -> Any:
    """The value with what languages write differently as text: floats, large integers; integer-like keys get a `_`."""
    if isinstance(value, Mapping):
        return {f"_{key}" if _INTEGER_LIKE.fullmatch(key) else key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int) and not -EXACT <= value <= EXACT:
        return str(value)
    return value


def sign(event_id: str, unsigned: bytes, at: datetime, secrets: list[str]) -> Signed:
    """The delivery of E at a moment. The first of `secrets` signs `signature`, all sign `webhook-signature`."""
    key = secrets[0].encode()
    signature = digest(key, unsigned)
    body = finished(unsigned, signature)
    seconds = str(int(at.timestamp()))
    content = f"{event_id}.{seconds}.".encode() + body
    standard = [base64.b64encode(_hmac(standard_key(secret), content).digest()).decode() for secret in secrets]
    headers = {
        "X-Lambda-Signature": digest(key, body),
        "webhook-id": event_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{one}" for one in standard),
    }
    return Signed(body, signature, headers)


def finished(unsigned: bytes, signature: str) -> bytes:
    """The body: E with its signature as the last member."""
    return unsigned[:-1] + b',"signature":"' + signature.encode() + b'"}'


def digest(key: bytes, content: bytes) -> str:
    return "sha256=" + _hmac(key, content).hexdigest()


def _hmac(key: bytes, content: bytes) -> hmac.HMAC:
    """Not `hmac.digest`: that gives up Python's lock, for which the dispatcher's loop would then have to queue."""
    return hmac.new(key, content, "sha256")


def standard_key(secret: str) -> bytes:
    """The key for Standard Webhooks: a `whsec_` secret is base64, any other text is its own bytes."""
    if secret.startswith(STANDARD):
        return base64.b64decode(secret[len(STANDARD) :])
    return secret.encode()


def standard_form(secret: str) -> str:
    """The secret as the libraries of Standard Webhooks want it."""
    return STANDARD + base64.b64encode(standard_key(secret)).decode()


def problem(secret: str) -> str:
    """What is wrong with a secret that somebody chose; empty if it will do."""
    if len(secret) > MAX_SECRET:
        return f"secret may have {MAX_SECRET} characters, this one has {len(secret)}"
    if not secret.isprintable() or secret != secret.strip():
        return "secret must have no control characters, and no spaces around it"
    if secret.startswith(STANDARD):
        try:
            size = len(base64.b64decode(secret[len(STANDARD) :], validate=True))
        except (binascii.Error, ValueError):
            return f"what follows {STANDARD} must be base64; leave secret out and one is made"
    else:
        size = len(secret.encode())
    if size < MIN_SECRET:
        return f"secret must have at least {MIN_SECRET} bytes, this one has {size}; leave it out and one is made"
    return ""
