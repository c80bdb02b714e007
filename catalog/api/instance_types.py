"""`/v1/instance-types`: sizes of machines, what they cost and where they can be had."""

from decimal import Decimal
from typing import Annotated, TypedDict

from api.renderers import HOURS, Answer, Page, like, money
from catalog.api.entries import Catalogue
from catalog.models import InstanceType, Price, Region


class InstanceTypePricesOut(TypedDict):
    hourly: Annotated[str, like("0.008"), "A decimal."]
    monthly: Annotated[str, like("5.84"), "A decimal: 730 hours."]
    currency: Annotated[str, like("USD")]


class InstanceTypeAvailabilityOut(TypedDict):
    status: Annotated[str, {"enum": ["available", "retired"]}]
    regions: Annotated[list[str], like(["us-east-1"]), "Where one can be made now."]


class InstanceTypeOut(TypedDict):
    slug: Annotated[str, like("compute-1x"), "The name in requests."]
    name: Annotated[str, like("Compute 1x")]
    aliases: Annotated[list[str], like(["t2.micro", "t3.micro"]), "Other names that requests may use."]
    family: Annotated[str, {"enum": ["compute", "memory"]}]
    vcpus: int
    memory_mb: Annotated[int, like(1024)]
    disk_gb: Annotated[int, like(10)]
    prices: InstanceTypePricesOut
    availability: InstanceTypeAvailabilityOut


class InstanceTypes(Catalogue):
    """Sizes of machines, what they cost and where they can be had."""

    model = InstanceType

    def representations(self, entries: list[InstanceType]) -> list[InstanceTypeOut]:
        prices, regions = Price.objects.current(), list(Region.objects.on_sale().values_list("slug", flat=True))
        return [_representation(entry, prices.get(entry.sku, Decimal(0)), regions) for entry in entries]

    def list(self, request) -> Answer[Page[InstanceTypeOut]]:
        return self.page(request)

    def retrieve(self, request, slug: str) -> Answer[InstanceTypeOut]:
        return self.entry(slug)


def _representation(entry: InstanceType, hourly: Decimal, regions: list[str]) -> InstanceTypeOut:
    on_sale = entry.on_sale
    return {
        "slug": entry.slug,
        "name": entry.name,
        "aliases": entry.aliases,
        "family": entry.family,
        "vcpus": entry.vcpus,
        "memory_mb": entry.memory_mb,
        "disk_gb": entry.disk_gb,
        "prices": {"hourly": money(hourly), "monthly": f"{hourly * HOURS:.2f}", "currency": "USD"},
        "availability": {"status": "available" if on_sale else "retired", "regions": regions if on_sale else []},
    }
