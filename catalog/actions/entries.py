"""The catalogue: every write, all of them by operators. It belongs to no account, so neither do its events."""

from typing import Any

from django.db import models, transaction

from core import epoch, events
from core.context import Actor
from core.db import atomic_write


@atomic_write()
def save(*, entry: models.Model, by: Actor) -> None:
    """A new entry or price version, or what was changed of an entry. Binds the next request of every process.

    Records: catalog.added or catalog.updated, with the new values.
    """
    rows = type(entry)._default_manager.select_for_update().values()
    before = rows.filter(pk=entry.pk).first() or {}
    entry.save()
    after = rows.get(pk=entry.pk)
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    _record("catalog.updated" if before else "catalog.added", entry, by, {"changed": changed})


@atomic_write()
def delete(*, entry: models.Model, by: Actor) -> None:
    """Records: catalog.removed. Raises: ProtectedError where something stands on it."""
    entry.delete()
    _record("catalog.removed", entry, by, {})


def _record(type: str, entry: models.Model, by: Actor, data: dict[str, Any]) -> None:
    facts = {"kind": entry._meta.verbose_name, "name": str(entry)}
    events.record(type, account=None, by=by, data=facts | data)
    transaction.on_commit(epoch.advance)
