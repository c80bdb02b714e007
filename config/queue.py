"""What operators see of the queue: how many nudges wait, for how long, and whether the clock still sends its own."""

import json
import time
from typing import Any

from celery import current_app
from celery.signals import before_task_publish
from django.core.cache import cache
from kombu.exceptions import ChannelError
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

QUEUE = "celery"
CLOCK = "clock-heartbeat"
HEARTBEAT_TASK = "config.heartbeat"  # which the clock alone sends, each 5 s


@before_task_publish.connect
def stamp(sender: str = "", headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write on each message when it was sent."""
    if headers is not None:
        headers["sent_at"] = time.time()
    if sender == HEARTBEAT_TASK:
        cache.set(CLOCK, time.time(), timeout=None)


def waiting() -> tuple[int, float | None]:
    """How many messages wait, and for how many seconds the oldest has; None where the broker cannot be asked that.

    Raises OSError or BrokerError where the broker does not answer.
    """
    with current_app.connection_for_read() as connection:
        try:
            channel = connection.channel()
            depth = channel.queue_declare(queue=QUEUE, passive=True).message_count
            oldest = _oldest(channel) if depth else None
        except ChannelError:  # nobody has sent or read anything yet
            return 0, None
        except RedisError as failure:
            raise BrokerError(str(failure)) from failure
        sent_at = oldest.get("headers", {}).get("sent_at") if oldest else None
        return depth, max(0.0, time.time() - sent_at) if sent_at else None


def _oldest(channel: Any) -> dict[str, Any] | None:
    if hasattr(channel, "peek"):  # our own folder
        found: dict[str, Any] | None = channel.peek(QUEUE)
        return found
    if hasattr(getattr(channel, "client", None), "lindex"):  # Redis: what is sent goes in on the left
        text = channel.client.lindex(QUEUE, -1)
        return json.loads(text) if text else None
    return None
