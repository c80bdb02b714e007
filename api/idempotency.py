"""`Idempotency-Key`: the same request again gets the stored answer, whatever crashed or raced in between.

Requests touch only the database, so the key, the effect and the stored answer are one commit; there is nothing to
recover. A concurrent twin waits on the unique row (PostgreSQL) or on the single writer (SQLite) and then replays.
Refusals roll everything back and are not stored: trying again looks again.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import OperationalError
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.models import IdempotencyRecord
from api.renderers import dumps, envelope
from core.db import atomic_write
from core.errors import Conflict, Invalid

KEPT = timedelta(hours=24)
METHODS = {"POST", "PATCH", "PUT", "DELETE"}


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"


class IdempotencyInProgress(Conflict):
    code = "idempotency_in_progress"


def key_of(request: Request) -> str | None:
    """The request's key, or None. Raises Invalid where it is not 1–255 printable ASCII characters."""
    raw: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if raw is None or request.method not in METHODS:
        return None
    key = raw.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]  # the IETF draft writes a quoted string, the document a bare one: they are one key
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Invalid.field("Idempotency-Key", "The Idempotency-Key must be 1 to 255 printable ASCII characters")
    return key


def run(key: str, request: Any, handler: Callable[[], Response], *, bare: bool) -> Response | HttpResponse:
    """Answer from the store, or run `handler` and store its answer, in one commit."""
    digest, fingerprint = marks(key, request)
    with atomic_write():
        mine = IdempotencyRecord(digest=digest, fingerprint=fingerprint)
        IdempotencyRecord.objects.filter(digest=digest, created_at__lt=timezone.now() - KEPT).delete()
        found = _claim(mine)
        if found.pk != mine.pk:
            return _replay(found, key, fingerprint)
        response = handler()
        body = dumps(envelope(response.data, bare=bare))
        found.status, found.sealed_body = response.status_code, _seal(key, body)
        found.save(update_fields=["status", "sealed_body"])
        return _answer(body, response)


def marks(key: str, request: Any) -> tuple[str, str]:
    """What the key stands for (account, method, path), and what was asked under it, as digests.

    Asked is the query and the body, for this user with these scopes: a stored answer may hold a secret, which is for
    whoever could have got it by themselves. A rotated key has the scopes and the user of the one before.
    """
    owner = request.auth.account.public_id if request.auth else "nobody"
    digest = sha256("\n".join([owner, request.method, request.path, key]).encode()).hexdigest()
    body = request.data
    said = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    asker = [request.auth.user.public_id, *sorted(request.auth.scopes)] if request.auth else []
    asked = " ".join([*asker, request.META.get("QUERY_STRING", "")]).encode()
    return digest, sha256(asked + b"\n" + said).hexdigest()


def insist_on_same(first: str, fingerprint: str) -> None:
    """Raises IdempotencyKeyReused where the fingerprint of the key's first request is not this one's."""
    if first != fingerprint:
        whose = "This Idempotency-Key was used with another request, or by somebody else"
        raise IdempotencyKeyReused(f"{whose}: use a new key for a new request")


def _claim(mine: IdempotencyRecord) -> IdempotencyRecord:
    """The key's record: `mine`, or that of a twin who was first. Waits for one that is not yet committed."""
    try:
        IdempotencyRecord.objects.bulk_create([mine], ignore_conflicts=True)
    except OperationalError as busy:
        if "lock timeout" in str(busy):
            raise IdempotencyInProgress("The first request with this Idempotency-Key still runs. Try again") from busy
        raise
    return IdempotencyRecord.objects.get(digest=mine.digest)


def _replay(found: IdempotencyRecord, key: str, fingerprint: str) -> HttpResponse:
    insist_on_same(found.fingerprint, fingerprint)
    response = HttpResponse(_open(key, bytes(found.sealed_body)), content_type="application/json", status=found.status)
    response["Idempotent-Replayed"] = "true"
    return response


def _answer(body: bytes, response: Response) -> HttpResponse:
    answer = HttpResponse(body, content_type="application/json", status=response.status_code)
    for name, value in response.headers.items():
        if name != "Content-Type":
            answer[name] = value
    return answer


def _cipher(key: str) -> AESGCM:
    return AESGCM(sha256(b"idempotent answer\n" + settings.LAMBDA_KEY_PEPPER + key.encode()).digest())


def _seal(key: str, body: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + _cipher(key).encrypt(nonce, body, None)


def _open(key: str, sealed: bytes) -> bytes:
    return _cipher(key).decrypt(sealed[:12], sealed[12:], None)
