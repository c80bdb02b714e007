"""The Celery application. The tasks live in each app's `tasks.py`, what the clock starts is in `settings.py`.

A message is only a nudge. What must be done is a row in the database, and the sweep finds rows whose nudge was lost,
so neither the broker nor a worker may lose more than seconds.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_embedded_init, worker_ready

from config import broker  # noqa: F401  (makes folder:// known)
from config.supervisor import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("lambda")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def begin_at_once(**_: Any) -> None:
    """Beat sends the first of each only after a whole period; whoever waits for `/readyz` should not wait for that."""
    for task in ("config.heartbeat", "compute.sweep"):
        app.send_task(task)


@beat_embedded_init.connect
def end_with_worker(**_: Any) -> None:
    """`worker -B` forks beat. A worker killed with -9 would leave it behind, and the next worker starts another."""
    die_with_parent()
