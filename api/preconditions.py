"""`ETag`, `If-Match`, `If-None-Match`: a single read says which version it shows, a change may insist on one.

The version is checked in the transaction of the change with the row locked, so nobody can come in between.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseNotModified

from core.db import atomic_write
from core.errors import Invalid, LambdaError

SAFE = {"GET", "HEAD", "OPTIONS"}


class PreconditionFailed(LambdaError):
    code = "precondition_failed"


def insisted(request: Any) -> str | None:
    """The If-Match of a request that would change something."""
    return None if request.method in SAFE else request.META.get("HTTP_IF_MATCH")


def insist(wanted: str, lock: Callable[[], Any], act: Callable[[], Any]) -> Any:
    """Act on the row that `lock` reads, but only in a version that If-Match names. Raises PreconditionFailed."""
    with atomic_write():
        row = lock()
        if row is None:
            raise Invalid.field("If-Match", "If-Match is for a change of one thing; here is none yet", value=wanted)
        check(wanted, row.version)
        return act()


def check(wanted: str, version: int) -> None:
    """Raises PreconditionFailed where If-Match does not name this version."""
    if not _names(wanted, etag(version)):
        raise PreconditionFailed(
            f"It was changed in the meantime: you have {wanted[:100]}, the current version is {etag(version)}",
            suggestion="Read it again, decide again, and send the ETag of that answer as If-Match.",
            current_etag=etag(version),
        )


def unchanged(request: Any, response: HttpResponse) -> HttpResponse | None:
    """304 where the caller has this version already, else None."""
    wanted, have = request.META.get("HTTP_IF_NONE_MATCH"), response.headers.get("ETag")
    if wanted is None or have is None or request.method not in SAFE or not _names(wanted, have):
        return None
    return HttpResponseNotModified(headers={"ETag": have})


def etag(version: int) -> str:
    return f'"{version}"'


def _names(header: str, tag: str) -> bool:
    """Whether a list of entity tags names this one. A proxy that compresses makes a tag weak; the row is the same."""
    given = [text.strip() for text in header.split(",")]
    return "*" in given or tag in [text.removeprefix("W/") for text in given]
