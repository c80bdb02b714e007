"""What the runner can do, as last seen by the sweep: requests ask this row, never the machine."""

from typing import Any

from django.db import models
from django.utils import timezone

from core import epoch


class Runner(models.Model):
    name = models.CharField(max_length=64, unique=True)
    ok = models.BooleanField()
    reason = models.TextField(blank=True)
    runtimes = models.JSONField(default=list)  # [{name, label, family, version}]
    status = models.JSONField(default=dict)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name

    @staticmethod
    @epoch.remembered
    def current() -> "Runner | None":
        """The runner, or None before the first sweep; remembered until it changes its mind."""
        return Runner.objects.first()

    @classmethod
    def known_runtimes(cls) -> list[dict[str, Any]]:
        runner = cls.current()
        return runner.runtimes if runner else []
