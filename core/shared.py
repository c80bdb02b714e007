"""The Redis that the machines of one installation share, where LAMBDA_REDIS_URL names one, and how to do without it.

Limits and the epoch stand on it, and both go on while it is away. So nobody waits for it: one failure, or half a second
of silence, and this process leaves it alone for a second. What to do meanwhile is for each caller to say.
"""

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds to wait for an answer
REST = 1.0  # seconds between two tries while it is away
T = TypeVar("T")

_again_at = 0.0


class Gone(ConnectionError):
    """Redis does not answer."""


@cache
def client() -> Redis:
    """The connections of this process. Each is made when it is needed, and once anew if Redis restarted."""
    return Redis.from_url(
        settings.LAMBDA_REDIS_URL,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 1),
    )


def ask(question: Callable[[Redis], T]) -> T:
    """The answer of Redis, which may be asked twice. Raises Gone, at once where it was away just now."""
    global _again_at
    if time.monotonic() < _again_at:
        raise Gone
    try:
        answer = question(client())
    except (RedisError, OSError) as failure:
        log.warning("Redis does not answer; going on without it: %s", failure)
        _again_at = time.monotonic() + REST
        raise Gone from failure
    return answer
