"""Seals of the audit log: a chain of keyed hashes over all events in commit order, made a second after them.

Whoever changes, removes or slips in an event breaks the chain, and cannot mend it with the database alone: the hash is
an HMAC whose key the database does not hold. What a chain cannot show is that its end was cut off with the events; for
that, note a head that `manage.py verify_audit_log` printed and hand it back later.
"""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Exists, OuterRef

from core.models import Event

BATCH = 1000
FIELDS = (
    "seq id at account_id type actor_kind actor_id actor_name via ip request_id subject_kind subject_id data meters"
).split()


@dataclass(frozen=True)
class Broken:
    """The first place where chain and log disagree."""

    number: int  # of the seal
    event: str  # its public id, or its seq where it is gone
    why: str


class Reads(models.QuerySet["AuditSeal"]):
    def head(self) -> "AuditSeal":
        """The newest seal, or EMPTY."""
        return self.order_by("-number").first() or EMPTY

    def first_broken(self) -> Broken | None:
        """Reads the whole chain and the whole log."""
        head = EMPTY
        for seal, event in self._with_events():
            shown = event.public_id if event else f"seq {seal.event_seq}"
            if seal.number != head.number + 1:
                return Broken(head.number + 1, shown, "its seal is missing")
            if seal.prev_hash != head.hash:
                return Broken(seal.number, shown, "its seal does not continue the one before")
            if event is None:
                return Broken(seal.number, shown, "the event is missing")
            if not hmac.compare_digest(seal.hash, digest(seal.number, head.hash, event)):
                return Broken(seal.number, shown, "the event or its seal was changed")
            head = seal
        return self._slipped_in(head)

    def _with_events(self) -> "Iterator[tuple[AuditSeal, Event | None]]":
        after = 0
        while batch := list(self.filter(number__gt=after).order_by("number")[:BATCH]):
            events = {event.seq: event for event in Event.objects.filter(seq__in=[seal.event_seq for seal in batch])}
            yield from ((seal, events.get(seal.event_seq)) for seal in batch)
            after = batch[-1].number

    def _slipped_in(self, head: "AuditSeal") -> Broken | None:
        """An event without a seal that claims to be older than the last sealed one."""
        last = Event.objects.filter(seq=head.event_seq).first()
        if last is None:
            return None
        sealed = AuditSeal.objects.filter(event_seq=OuterRef("seq"))
        event = Event.objects.until(last).filter(~Exists(sealed)).order_by("txid", "seq").first()
        return Broken(head.number, event.public_id, "the event was slipped in: it has no seal") if event else None


class AuditSeal(models.Model):
    """One event's link of the chain. `number` counts from 1 without a gap."""

    number = models.BigIntegerField(primary_key=True)
    event_seq = models.BigIntegerField(unique=True)
    prev_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    def next(self, event: Event) -> "AuditSeal":
        """The link after this one."""
        number = self.number + 1
        sealed = digest(number, self.hash, event)
        return AuditSeal(number=number, event_seq=event.seq, prev_hash=self.hash, hash=sealed)


EMPTY = AuditSeal(number=0, event_seq=0, hash="")  # before the first


def digest(number: int, prev_hash: str, event: Event) -> str:
    facts = [number, prev_hash, *(getattr(event, name) for name in FIELDS)]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), cls=_Exact)
    return hmac.new(settings.LAMBDA_KEY_PEPPER, b"audit seal\n" + text.encode(), sha256).hexdigest()


class _Exact(DjangoJSONEncoder):
    """Times to the microsecond, as the database has them."""

    def default(self, value):  # type: ignore[no-untyped-def]
        return value.isoformat() if hasattr(value, "isoformat") else super().default(value)
