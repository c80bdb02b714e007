"""`/v1/versions`: which versions of the API there are and how long each will live. The version is in the address."""

from datetime import date
from typing import Annotated, TypedDict

from rest_framework.request import Request

from api.pagination import sliced
from api.renderers import Answer, Page, like
from api.views import ViewSet


class VersionOut(TypedDict):
    version: Annotated[str, like("v1")]
    introduced: Annotated[date, like("2024-01-01")]
    end_of_life: Annotated[date | None, "Null: not planned. It is announced 12 months before."]
    status: Annotated[str, {"enum": ["stable", "beta"]}]


VERSIONS: list[VersionOut] = [
    {"version": "v1", "introduced": date(2024, 1, 1), "end_of_life": None, "status": "stable"},
    {"version": "v2", "introduced": date(2026, 1, 1), "end_of_life": None, "status": "beta"},
]


class Versions(ViewSet):
    """Which versions of the API there are."""

    scopes = {"list": "public"}
    query = {"list": {"page", "limit"}}

    def list(self, request: Request) -> Answer[Page[VersionOut]]:
        """List the versions of the API."""
        return Answer(sliced(request, VERSIONS))
