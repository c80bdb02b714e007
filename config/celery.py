"""The Celery application: how tasks travel, and which ones the clock starts. The tasks live in each app's `tasks.py`.

A message is only a nudge. What must be done is a row in the database, and the sweep finds rows whose nudge was lost,
so neither the broker nor a worker may lose more than seconds.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("lambda")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
