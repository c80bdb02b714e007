"""Lifecycles: which state may follow which, and the only way to move.

A noun declares its table beside its fields; `advance` moves one row by compare-and-set, so that of two callers
who both saw the old state exactly one wins.
"""

from typing import Any

from django.db import models
from django.db.models import F
from django.utils import timezone


class StateChanged(Exception):
    """Somebody else moved the row first, or it is gone: nothing was done."""


class Lifecycle:
    """A transition table: `{"stopped": {"starting", "deleting"}, …}`. A state that is never a key is final."""

    def __init__(self, transitions: dict[str, set[str]]):
        self.transitions = transitions

    def sources(self, to: str) -> list[str]:
        """The states from which `to` can be reached in one step."""
        return sorted(state for state, targets in self.transitions.items() if to in targets)

    def advance(self, row: models.Model, to: str, **fields: Any) -> None:
        """Move `row` from the state it was read in to `to` and set `fields`, at once or not at all.

        Raises ValueError where the table has no such step, StateChanged where the row moved meanwhile.
        """
        old = row.state  # type: ignore[attr-defined]
        if to not in self.transitions.get(old, set()):
            raise ValueError(f"{type(row).__name__} cannot go from {old} to {to}")
        fields |= {"state": to, "updated_at": timezone.now()}
        # Each user verb raises the generation: the same state of an older generation is another life.
        fence = {"generation": row.generation} if hasattr(row, "generation") else {}
        same = type(row)._base_manager.filter(pk=row.pk, state=old, **fence)
        if same.update(**fields, version=F("version") + 1) != 1:
            raise StateChanged(f"{type(row).__name__} {row.pk} is no longer {old}")
        for name, value in fields.items():
            setattr(row, name, value)
        row.version += 1  # type: ignore[attr-defined]
