"""The last errors of every process, for the operators' health page. The log has them whole; here is where to look."""

import logging
import time
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from django.core.cache import cache

from core import context

LAST = "last-errors"
KEPT = 20
PAUSE = 0.5  # seconds between two that are kept, per process: a storm of errors must not become one of writes


class Remember(logging.Handler):
    """Keeps errors in the shared cache: {at, logger, message, where, request_id}, newest first."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._again_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._again_at:
            return
        self._again_at = now + PAUSE
        with suppress(Exception):  # the cache may be what is broken, and the log has said so
            # Of two processes at this very moment one's error is kept; the log has both.
            cache.set(LAST, [_told(record), *cache.get(LAST, [])][:KEPT], timeout=None)


def _told(record: logging.LogRecord) -> dict[str, Any]:
    said: Any = record.msg
    facts = said if isinstance(said, dict) else {}  # structlog hands its lines over so
    request = getattr(record, "request", None)
    return {
        "at": record.created,
        "logger": record.name,
        "message": str(facts.get("event") or record.getMessage()).partition("\n")[0][:300],
        "where": _where(record),
        "request_id": facts.get("request_id") or getattr(request, "request_id", "") or context.request_id.get(),
    }


def _where(record: logging.LogRecord) -> str:
    """`ValueError in models.py:12`: never an exception's text, which may quote what somebody sent."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    trace = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{record.exc_info[0].__name__}{place}"


def remember() -> None:
    """Keep what any logger of this process says at ERROR from now on."""
    if not any(isinstance(handler, Remember) for handler in logging.root.handlers):
        logging.root.addHandler(Remember())


def last() -> list[dict[str, Any]]:
    """Newest first. Raises OSError or RedisError where the cache does not answer."""
    found: list[dict[str, Any]] = cache.get(LAST, [])
    return found
