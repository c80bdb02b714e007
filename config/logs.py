"""Log lines: JSON in production, coloured on a terminal, each with the id of the request that caused it."""

import logging
import os
import sys
from typing import Any

import structlog


def configure(*, json: bool, level: str) -> None:
    """Send structlog and the standard library's loggers through one chain to stderr. `level` is a name such as INFO."""
    shared: list[Any] = [
        add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    colours = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json
        else [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    # Celery says at INFO when each task comes and goes: several lines a second that nobody reads.
    logging.getLogger("celery").setLevel("WARNING")
    logging.getLogger("django.request").addFilter(is_worth_a_line)


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not that `/readyz` has answered 503: it is asked several times a second, and its answer says why."""
    return getattr(getattr(record, "request", None), "path", "") != "/readyz"


def add_request_id(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    from core.context import request_id  # not at the top: settings, which import this, must not need the apps

    # Django's own lines about a refused request come when the middlewares, and their context, are left already.
    request = getattr(event.get("_record"), "request", None)
    if value := request_id.get(None) or getattr(request, "request_id", ""):
        event.setdefault("request_id", value)
    return event
