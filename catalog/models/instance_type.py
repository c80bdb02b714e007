"""Sizes of machines."""

from django.db import models

from catalog.models.entry import Entry


class InstanceType(Entry):
    family = models.CharField(max_length=16, choices=[("compute", "Compute"), ("memory", "Memory")])
    vcpus = models.PositiveSmallIntegerField()
    memory_mb = models.PositiveIntegerField(verbose_name="memory (MB)")
    disk_gb = models.PositiveIntegerField(verbose_name="disk (GB)")

    @property
    def sku(self) -> str:
        """What its running hours are metered and priced as."""
        return f"instance.{self.slug}"
