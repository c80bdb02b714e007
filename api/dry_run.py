"""`?dry_run=true`: a create carried out in full and taken back, answered with what it would have cost.

So the rehearsal checks exactly what the real thing does: fields, quotas and stock. What only a real one has (an id, a
secret) is not shown.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from api.renderers import Answer, Rehearsed
from core.db import atomic_write
from core.errors import Invalid

SHOWN_ONCE = {"key", "key_ascii", "private_key", "secret", "standard_secret"}
INVENTED = {"id", "resource_id"}
PARAMETER = {
    "type": "string",
    "enum": ["true", "false"],
    "default": "false",
    "description": "Check everything and price it, but do nothing.",
}


class _TakenBack(Exception):
    """Rolls the transaction back."""


def asked(request: Any) -> bool:
    """Raises Invalid for anything but true and false."""
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise Invalid.field("dry_run", "dry_run must be true or false", value=text, allowed=["true", "false"])
    return bool(text == "true")


def rehearse(act: Callable[[], Any], hourly: Callable[[dict[str, Any]], Decimal]) -> Answer[Any]:
    """Run a create and roll it back; `hourly` prices what it answered. What it refuses is refused."""
    try:
        with atomic_write():
            made = act().data
            raise _TakenBack
    except _TakenBack:
        shown = {name: None if name in INVENTED else value for name, value in made.items() if name not in SHOWN_ONCE}
        return Answer(Rehearsed(shown, hourly(made)))
