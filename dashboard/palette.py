"""Where one can go: the pages, actions and things that the side bar and the command palette (⌘K) offer.

Each app offers its own, beside its addresses in `urls.py`; this module knows none of them. What the reader's role may
not open is not offered, and things are found in the inventory (`core.Resource`) of the reader's account alone.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views import View

from core import ids
from core.models import Resource

GROUPS = ("Main", "Compute", "Develop", "Billing", "Settings")  # of the side bar, in this order
SHOWN = 8  # things at most
THEMES = [("light", "sun"), ("dark", "moon"), ("system", "monitor")]


@dataclass(frozen=True)
class Place:
    """A page by the name of its address. `scope`: who may open it; `words`: what else people call it.

    `group`: where it stands in the side bar; pages without one and actions, such as "Create instance", are in the
    palette alone. `key`: the letter that opens it after `g`. `symbol`: the lucide name of its icon.
    """

    name: str
    label: str
    symbol: str
    scope: str = ""
    group: str = ""
    key: str = ""
    words: str = ""
    action: bool = False

    @property
    def url(self) -> str:
        try:
            return reverse(self.name)
        except NoReverseMatch:
            return ""


def action(name: str, label: str, scope: str = "", group: str = "", symbol: str = "plus") -> Place:
    """A page where something is made, for the palette alone; also found by "new", "create" and "add"."""
    return Place(name, label, symbol, scope, group, words="new create add", action=True)


@dataclass(frozen=True)
class Kind:
    """Things of one kind in the inventory: how the page of one is found. `scope`: who may read them."""

    kind: str
    symbol: str
    scope: str
    url: Callable[[Resource], str]
    prefix: str


class Found(NamedTuple):
    """A line of the palette."""

    label: str
    url: str
    symbol: str
    hint: str = ""
    state: str = ""


_places: dict[str, Place] = {}
_kinds: dict[str, Kind] = {}


def offer(*places: Place) -> None:
    """Put pages and actions into the palette, and those of a group into the side bar."""
    _places.update({place.name: place for place in places})


def offer_things(kind: str, *, name: str, symbol: str, scope: str, prefix: str) -> None:
    """Find things of an inventory's kind, and open them at the address `name`.

    `prefix` is that of their public ids, which the address takes as `id`. One in capitals is of numbered things (FUNC).
    """

    def url(found: Resource) -> str:
        numbered = prefix.isupper()
        id = ids.encode_number(prefix, found.pk) if numbered else ids.encode(prefix, found.native_id)
        return reverse(name, kwargs={"id": id})

    _kinds[kind] = Kind(kind, symbol, scope, url, prefix)


def places(scopes: Iterable[str]) -> list[Place]:
    """What somebody with these scopes may open, in the order of the side bar."""
    able = [place for place in _places.values() if (not place.scope or place.scope in scopes) and place.url]
    return sorted(able, key=lambda place: GROUPS.index(place.group) if place.group else len(GROUPS))


def things(account: object, scopes: Iterable[str], query: str) -> list[Found]:
    """The account's things whose name contains the query, or whose id it is; the newest first."""
    kinds = [kind for kind in _kinds.values() if kind.scope in scopes]
    if not query or not kinds:
        return []
    wanted = Q(name__icontains=query)
    for prefix in ("RES", *(kind.prefix for kind in kinds)):
        with suppress(ValueError):
            if prefix.isupper():
                wanted |= Q(pk=ids.decode_number(prefix, query.upper()))
            else:
                wanted |= Q(native_id=ids.decode(prefix, query))
    rows = Resource.objects.filter(
        wanted, account_id=account.pk, deleted_at=None, kind__in=[kind.kind for kind in kinds]
    )[:SHOWN]
    return [
        Found(row.name, _kinds[row.kind].url(row), _kinds[row.kind].symbol, row.region or row.kind, row.status)
        for row in rows
    ]


def matches(place: Place, query: str) -> bool:
    """Whether every word that was typed begins a word of what the place is called."""
    known = f"{place.label} {place.words} {place.group}".lower().split()
    return all(any(word.startswith(typed) for word in known) for typed in query.lower().split())


class Search(LoginRequiredMixin, View):
    """The palette's lines for what was typed; without a script a page of its own."""

    def get(self, request: HttpRequest) -> HttpResponse:
        query = request.GET.get("q", "").strip()[:100]
        scopes = request.membership.scopes if request.membership else frozenset()
        able = places(scopes)
        fitting = [place for place in able if matches(place, query)]
        context = {
            "query": query,
            "things": things(request.account, scopes, query) if request.account else [],
            "pages": [place for place in fitting if not place.action],
            "actions": [place for place in fitting if place.action],
            "themes": [theme for theme in THEMES if all(word in f"{theme[0]} theme" for word in query.lower().split())],
            "shortcuts": [place for place in able if place.key] if query == "?" else [],
        }
        template = "dashboard/_found.html" if request.htmx else "dashboard/search.html"
        return render(request, template, context)
