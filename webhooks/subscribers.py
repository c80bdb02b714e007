"""What webhooks asks of other apps: the opt-in types that an active endpoint names are recorded for its account."""

from collections.abc import Collection
from uuid import UUID

from core import events
from webhooks.events import matches
from webhooks.models import Endpoint


def named(account_ids: Collection[UUID]) -> dict[UUID, set[str]]:
    """Opt-in types by account, for those of these accounts that want any. One statement."""
    wanted: dict[UUID, set[str]] = {}
    for account_id, patterns in Endpoint.objects.listening(account_ids).values_list("account_id", "events"):
        wanted.setdefault(account_id, set()).update(type for type in events.opt_in() if matches(patterns, type))
    return wanted


events.take(named)
