"""What the machines behind a driver can do, as last seen by the sweep: requests ask this row, never the machine."""

from django.db import models
from django.utils import timezone

from core import epoch


class Node(models.Model):
    name = models.CharField(max_length=64, unique=True)
    ok = models.BooleanField()
    tier = models.CharField(max_length=32, blank=True)
    os = models.CharField(max_length=128, blank=True)
    limits = models.JSONField(default=dict)
    capacity = models.JSONField(default=dict, help_text="What it has and what is free of it: drivers/base.py.")
    reason = models.TextField(blank=True)
    remedy = models.TextField(blank=True)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name

    @staticmethod
    @epoch.remembered
    def current() -> "Node | None":
        """The node that instances run on, or None before the first sweep; remembered until it changes its mind."""
        return Node.objects.first()
