"""How far a runner's journal has been read. Moves in the transaction that keeps what was read: nothing counts twice."""

from django.db import models
from django.utils import timezone


class JournalCursor(models.Model):
    runner = models.CharField(max_length=64, primary_key=True)
    segment = models.CharField(max_length=128, blank=True)
    offset = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=128, blank=True)  # the process that reads; who dies loses it in seconds
    leased_until = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.runner}: {self.segment} {self.offset}"

    def free_for(self, holder: str) -> bool:
        """Whether this process shall read on. If two did, nothing would count twice, but it would be work twice."""
        return self.holder == holder or self.leased_until <= timezone.now()

    @property
    def place(self) -> tuple[str, int]:
        return self.segment, self.offset
