"""`/v1/images`: what an instance can start from."""

from typing import Annotated, TypedDict

from api.renderers import Answer, Page, like
from catalog.api.entries import Catalogue, availability
from catalog.models import Image


class ImageOut(TypedDict):
    slug: Annotated[str, like("ubuntu-22.04"), "The name in requests."]
    name: Annotated[str, like("Ubuntu 22.04 LTS")]
    distribution: Annotated[str, like("ubuntu")]
    release: Annotated[str, like("22.04")]
    aliases: Annotated[list[str], like([]), "Other names that requests may use."]
    availability: Annotated[str, {"enum": ["available", "retired"]}]


class Images(Catalogue):
    """What an instance can start from. What is really inside, its `os` says."""

    model = Image

    def representations(self, entries: list[Image]) -> list[ImageOut]:
        return [
            {
                "slug": image.slug,
                "name": image.name,
                "distribution": image.distribution,
                "release": image.release,
                "aliases": image.aliases,
                "availability": availability(image),
            }
            for image in entries
        ]

    def list(self, request) -> Answer[Page[ImageOut]]:
        return self.page(request)

    def retrieve(self, request, slug: str) -> Answer[ImageOut]:
        return self.entry(slug)
