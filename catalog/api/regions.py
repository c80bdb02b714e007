"""`/v1/regions`: where things can run."""

from typing import Annotated, TypedDict

from api.renderers import Answer, Page, like
from catalog.api.entries import Catalogue, availability
from catalog.models import Region


class RegionOut(TypedDict):
    slug: Annotated[str, like("us-east-1"), "The name in requests."]
    name: Annotated[str, like("US East (N. Virginia)")]
    country: Annotated[str, like("US"), "ISO 3166 code."]
    aliases: Annotated[list[str], like(["us-east"]), "Other names that requests may use."]
    availability: Annotated[str, {"enum": ["available", "retired"]}]


class Regions(Catalogue):
    """Where things can run: the AWS region codes."""

    model = Region

    def representations(self, entries: list[Region]) -> list[RegionOut]:
        return [
            {
                "slug": region.slug,
                "name": region.name,
                "country": region.country,
                "aliases": region.aliases,
                "availability": availability(region),
            }
            for region in entries
        ]

    def list(self, request) -> Answer[Page[RegionOut]]:
        return self.page(request)

    def retrieve(self, request, slug: str) -> Answer[RegionOut]:
        return self.entry(slug)
