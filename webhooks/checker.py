"""Which of a delivery's three signatures is right, and what is wrong with the others. Pure: nothing is kept or logged.

How they are made is in `signing.py`; here somebody's body, headers and secret are held against it.
"""

import base64
import binascii
import hmac
import re
from contextlib import suppress
from dataclasses import dataclass

import orjson

from webhooks import signing

TAIL = re.compile(r',"signature":"(sha256=[0-9a-f]{64})"\}')
HEADER, MEMBER, STANDARD = "X-Lambda-Signature", "signature", "webhook-signature"


@dataclass(frozen=True)
class Finding:
    """One of the three. `verdict`: right, wrong, or missing where there is nothing to compare with.

    `same` and `other` are what was given: as far as it is as expected, and the rest.
    """

    name: str
    rule: str
    verdict: str
    expected: str = ""
    same: str = ""
    other: str = ""
    advice: str = ""


def check(body: str, headers: str, secret: str) -> list[Finding]:
    """All three, in the order of the documentation. `headers` are lines, a JSON object, or one signature alone."""
    known = read(headers)
    tail = TAIL.search(body, max(len(body) - 87, 0)) if body.endswith("}") else None
    content = body[:-87] + "}" if tail else ""
    given = tail[1] if tail else ""
    first = _digested(HEADER, "the body as received", known.get(HEADER.lower(), ""), body, body, secret, content)
    second = _digested(MEMBER, "the body without this member", given, content, body, secret, body)
    return [first, second if tail else _without_tail(body, secret), _standard(known, body, secret)]


def read(headers: str) -> dict[str, str]:
    """Their values by lower-case names."""
    text = headers.strip()
    if text.startswith("{"):
        with suppress(ValueError):
            found = orjson.loads(text).items()
            return {name.lower(): str(value) for name, value in found if not isinstance(value, dict | list)}
    if text.startswith("sha256=") or re.fullmatch("[0-9a-fA-F]{64}", text):
        return {HEADER.lower(): text}
    if text.startswith("v1,"):
        return {STANDARD: text}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs if value}


def _digested(name: str, rule: str, given: str, content: str, body: str, secret: str, elsewhere: str) -> Finding:
    """A signature in hexadecimal. `elsewhere` is what the other of the two covers."""
    expected = signing.digest(secret.encode(), content.encode())
    if not given:
        return Finding(name, rule, "missing", expected)
    if given == expected:
        return Finding(name, rule, "right", expected)
    advice = _advice(given, content, body, secret, elsewhere)
    return Finding(name, rule, "wrong", expected, *_parted(given, expected), advice)


def _advice(given: str, content: str, body: str, secret: str, elsewhere: str) -> str:
    """What somebody most likely did, by trying it."""
    bare = given.lower().removeprefix("sha256=")

    def fits(content: str, key: bytes) -> bool:
        return signing.digest(key, content.encode()) == f"sha256={bare}"

    key = secret.encode()
    if fits(content, key):
        return "It is right, but written differently: it reads sha256= and then lower-case letters and digits."
    if fits(content, secret.strip().strip("\"'").encode()):
        return "It is right for the secret without the spaces or quotes around it."
    with suppress(binascii.Error, ValueError):
        if fits(content, signing.standard_key(secret)):
            return "This is the secret as Standard Webhooks wants it. Here it is the secret as text that you chose."
    if elsewhere and fits(elsewhere, key):
        return "This is the other signature: one covers the whole body, the other the body without its last member."
    if fits(content.strip(), key):
        return "It is right for the body without the spaces or line ends around it: something added them."
    if (again := _compact(body)) and again != body and fits(again, key):
        return (
            "It is right for the body before something read it as JSON and wrote it anew: take the bytes as they came."
        )
    return "This is another secret, or not the body that was sent. During a rotation the old secret signs it."


def _without_tail(body: str, secret: str) -> Finding:
    rule = "the body without this member"
    again = _compact(body)
    if again and (tail := TAIL.search(again, max(len(again) - 87, 0))):
        expected = signing.digest(secret.encode(), (again[:-87] + "}").encode())
        right = (
            "With its spaces taken out it is right." if tail[1] == expected else "Without its spaces it is wrong too."
        )
        advice = f"The body was read as JSON and written anew: take the bytes as they came. {right}"
        return Finding(MEMBER, rule, "wrong", expected, *_parted(tail[1], expected), advice)
    return Finding(MEMBER, rule, "missing", advice="The body does not end with a signature, as Lambda's bodies do.")


def _compact(body: str) -> str:
    """The same JSON as Lambda writes it; "" for what is none, or nested deeper than can be written."""
    with suppress(ValueError, orjson.JSONEncodeError):
        return orjson.dumps(orjson.loads(body)).decode()
    return ""


def _standard(known: dict[str, str], body: str, secret: str) -> Finding:
    rule = "webhook-id.webhook-timestamp.body"
    given, id, seconds = (known.get(name, "") for name in (STANDARD, "webhook-id", "webhook-timestamp"))
    if not id or not seconds:
        return Finding(
            STANDARD, rule, "missing", advice="It takes the headers webhook-id and webhook-timestamp as well."
        )
    try:
        key = signing.standard_key(secret)
    except (binascii.Error, ValueError):
        return Finding(STANDARD, rule, "wrong", advice=f"What follows {signing.STANDARD} in the secret is not base64.")

    def made(content: str) -> str:
        whole = hmac.digest(key, f"{id}.{seconds}.{content}".encode(), "sha256")
        return f"v1,{base64.b64encode(whole).decode()}"

    expected = made(body)
    if not given:
        return Finding(STANDARD, rule, "missing", expected)
    ones = given.split()
    if expected in ones:
        return Finding(STANDARD, rule, "right", expected)
    advice = "This is another secret, or the body, webhook-id or webhook-timestamp is not as it was sent."
    if made(body.strip()) in ones:
        advice = "It is right for the body without the spaces or line ends around it: something added them."
    elif made(_compact(body)) in ones:
        advice = "The body was read as JSON and written anew: take the bytes as they came."
    return Finding(STANDARD, rule, "wrong", expected, *_parted(given, expected), advice)


def _parted(given: str, expected: str) -> tuple[str, str]:
    """What was given, parted where it begins to differ."""
    pairs = enumerate(zip(given, expected, strict=False))
    same = next((at for at, (mine, right) in pairs if mine != right), min(len(given), len(expected)))
    return given[:same], given[same:]
