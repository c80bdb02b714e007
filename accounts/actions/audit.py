"""Sealing the audit log: see `accounts/models/audit_seal.py`."""

import logging

from accounts.models import AuditSeal
from accounts.models.audit_seal import BATCH
from core.db import atomic_write
from core.models import Event

log = logging.getLogger(__name__)


@atomic_write()
def seal(*, limit: int = BATCH) -> int:
    """Seal the next events in commit order; answers how many. Of two at once one fails, on the number it wants."""
    head = AuditSeal.objects.head()
    waiting = Event.objects.committed()
    if head.number:
        last = Event.objects.filter(seq=head.event_seq).first()
        if last is None:
            log.error("the event that was sealed last is gone from the log: see `manage.py verify_audit_log`")
            return 0
        waiting = waiting.after(last)
    chain = []
    for event in waiting[:limit]:
        head = head.next(event)
        chain.append(head)
    AuditSeal.objects.bulk_create(chain)
    return len(chain)
