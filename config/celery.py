"""The Celery application. The tasks live in each app's `tasks.py`, what the clock starts is in `settings.py`.

A message is only a nudge. What must be done is a row in the database, and the sweep finds rows whose nudge was lost,
so neither the broker nor a worker may lose more than seconds.
"""

import os
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService
from celery.signals import worker_ready

from config import broker  # noqa: F401  (makes folder:// known)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("lambda")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def begin(**_: Any) -> None:
    """The clock is a thread of the worker. `worker -B` forks it instead: killed alone, nobody would start it again."""
    EmbeddedService(app, thread=True).start()
    # The clock sends the first of each only after a whole period; whoever waits for `/readyz` should not wait for that.
    for task in ("config.heartbeat", "compute.sweep", "functions.sweep"):
        app.send_task(task)
