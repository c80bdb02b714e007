"""What the lists of the catalogue have in common: whoever can reach the API may read them, with or without a key."""

from typing import Any, ClassVar

from api.pagination import cut, page
from api.renderers import Answer, Page
from api.views import ViewSet
from catalog.models.entry import Entry
from core.errors import NotFound


class Catalogue(ViewSet):
    """Entries on sale, in the shop's order; one by its slug or any other name it answers to, also when it is retired.

    A subclass says which `model` and how to show rows: `representations`, all at once, so that what they share is
    read once.
    """

    scopes = {"list": "public", "retrieve": "public"}
    query = {"list": {"page", "limit"}}
    model: ClassVar[type[Entry]]

    def representations(self, entries: list[Any]) -> list[Any]:
        raise NotImplementedError

    def page(self, request) -> Answer[Page[Any]]:
        number, limit = page(request)
        rows = self.model._default_manager.filter(on_sale=True)
        return Answer(Page(self.representations(list(cut(rows, number, limit))), number, limit, rows.count()))

    def entry(self, name: str) -> Answer[Any]:
        slug = self.model.names().get(name)
        if slug is None:
            kind = str(self.model._meta.verbose_name)
            raise NotFound(f"Resource not available: there is no {kind} '{name[:64]}' in the catalogue")
        return Answer(self.representations([self.model._default_manager.get(slug=slug)])[0])


def availability(entry: Entry) -> str:
    return "available" if entry.on_sale else "retired"
