"""The platform's own tasks: the worker's sign of life. What the apps do is in their own `tasks.py`."""

from celery import shared_task

from config import health


@shared_task(name="config.heartbeat")
def heartbeat() -> None:
    health.beat()
