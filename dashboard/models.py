"""Which forms have been sent, so that a second click does nothing twice. Written by `dashboard.forms.once` alone."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

from core.db import atomic_write

KEPT = timedelta(days=1)
SHOWN = "shown"  # the answer was a page with a secret, which is not kept


class SentForm(models.Model):
    """One form as one user opened it. `answer`: where it led, `SHOWN`, or nothing while it is being carried out."""

    digest = models.CharField(max_length=64, primary_key=True)
    answer = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.answer or 'under way'} of {self.created_at:%F %T}"

    @classmethod
    @atomic_write()
    def claim(cls, digest: str) -> bool:
        """Whether this is the first time; forgets what is older than a day."""
        cls.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
        return cls.objects.get_or_create(digest=digest)[1]

    @classmethod
    @atomic_write()
    def release(cls, digest: str) -> None:
        """It was refused: it may be mended and sent again."""
        cls.objects.filter(digest=digest).delete()

    @classmethod
    @atomic_write()
    def finish(cls, digest: str, answer: str) -> None:
        cls.objects.filter(digest=digest).update(answer=answer)
