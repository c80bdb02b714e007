from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Core"

    def ready(self) -> None:
        post_migrate.connect(adopt_restored_events, sender=self)


def adopt_restored_events(**_: Any) -> None:
    """A backup brings its events' transaction numbers along, and its owner runs `migrate` before anything else."""
    from core.models import Event

    Event.objects.adopt()
