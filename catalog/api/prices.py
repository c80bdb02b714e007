"""`/v1/prices`: what a unit costs, and has cost, by sku."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from django.utils import timezone

from api.pagination import page
from api.renderers import Answer, Page, like, money
from api.views import ViewSet
from catalog.models import Price
from core.errors import NotFound


class PriceVersionOut(TypedDict):
    unit_price: Annotated[str, like("0.008"), "A decimal."]
    effective_from: datetime


class PriceOut(TypedDict):
    sku: Annotated[str, like("instance.compute-1x")]
    unit: Annotated[str, like("hour")]
    unit_price: Annotated[str, like("0.008"), "A decimal: what holds now."]
    currency: Annotated[str, like("USD")]
    versions: Annotated[list[PriceVersionOut], "All that were and those announced, newest first."]


class Prices(ViewSet):
    """What a unit costs, and has cost. A price never changes: a new one holds from its time on."""

    scopes = {"list": "public", "retrieve": "public"}
    query = {"list": {"page", "limit"}}

    def list(self, request) -> Answer[Page[PriceOut]]:
        number, limit = page(request)
        known = Price.objects.filter(effective_from__lte=timezone.now()).order_by("sku").values_list("sku", flat=True)
        skus = known.distinct()
        return Answer(
            Page(_representations(list(skus[(number - 1) * limit : number * limit])), number, limit, skus.count())
        )

    def retrieve(self, request, sku: str) -> Answer[PriceOut]:
        found = _representations([sku])
        if not found:
            raise NotFound(f"Resource not available: there is no price of '{sku[:64]}'")
        return Answer(found[0])


def _representations(skus: list[str]) -> list[PriceOut]:
    """Those of the skus that have a price now."""
    now = timezone.now()
    found: dict[str, Any] = {}
    for price in Price.objects.filter(sku__in=skus).order_by("sku", "-effective_from"):
        shown = found.setdefault(price.sku, {"sku": price.sku, "unit_price": None, "versions": []})
        shown["versions"].append({"unit_price": money(price.unit_price), "effective_from": price.effective_from})
        if shown["unit_price"] is None and price.effective_from <= now:
            shown |= {"unit": price.unit, "unit_price": money(price.unit_price), "currency": price.currency}
    return [shown for shown in found.values() if shown["unit_price"] is not None]
