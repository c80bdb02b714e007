"""What can happen to the catalogue. It is the platform's own: these events are of no account."""

from core.events import declare

declare(
    {
        "catalog.added": "An operator added an entry or a price to the catalogue.",
        "catalog.updated": "An operator changed an entry of the catalogue.",
        "catalog.removed": "An operator removed an entry from the catalogue.",
    },
    internal=True,
)
