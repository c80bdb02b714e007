"""Lists in pages: their filters, the rows of one page and the ways to its neighbours. What is listed is in the views.

In templates `dashboard/_filters.html` and `dashboard/_pages.html` show what is made here.
"""

import re
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlencode

from django import forms
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from core.models import COUNTED, Counter

NUMBER = re.compile(r"[1-9][0-9]{0,5}")  # of a page
R = TypeVar("R", bound=Model)


def address(kept: dict[str, str], **changed: Any) -> str:
    """`?q=web&page=2`: the same list with something changed. The first page goes without its number."""
    said = kept | changed
    if said.get("page") == 1:
        del said["page"]
    return f"?{urlencode(said)}"


class Filters(forms.Form):
    """What a list is narrowed by. The names are those of the API's filters, so that one query string serves both.

    `also`: what else of the address the links of the list keep, such as its order.
    """

    also: ClassVar[tuple[str, ...]] = ()

    def select(self, rows: Any) -> Any:
        """Those of the rows that `cleaned_data` asks for."""
        raise NotImplementedError

    def chosen(self, rows: "QuerySet[R]") -> "QuerySet[R]":
        """Those of the rows that are asked for; none where a filter is wrong."""
        found: QuerySet[R] = self.select(rows) if self.is_valid() else rows.none()
        return found

    @property
    def narrowed(self) -> bool:
        return any(self.data.get(name) for name in self.fields)

    @property
    def others(self) -> dict[str, str]:
        return {name: self.data[name] for name in self.also if self.data.get(name)}

    @property
    def kept(self) -> dict[str, str]:
        """Whatever the address says of the list but its page."""
        return {name: self.data[name] for name in self.fields if self.data.get(name)} | self.others


class Numbered(Generic[R]):
    """The rows of the page that the address asks for (`?page=2`), `size` of them at most.

    `previous`, `here` and `next` are addresses, "" where there is no such page; `first` and `last` count from 1. `kind`
    is the noun's name, as its `Counter` has it.
    """

    def __init__(self, request: HttpRequest, rows: "QuerySet[R]", form: Filters, size: int, kind: str = ""):
        asked = request.GET.get("page", "")
        number = int(asked) if NUMBER.fullmatch(asked) else 1
        start = (number - 1) * size
        self._account, self._form, self._kind, self._chosen = request.account, form, kind, form.chosen(rows)
        found = list(self._chosen[start : start + size + 1])
        self.rows = found[:size]
        self.first, self.last = start + 1, start + len(self.rows)
        self.previous = address(form.kept, page=number - 1) if number > 1 else ""
        self.here = address(form.kept, page=number)
        self.next = address(form.kept, page=number + 1) if len(found) > size else ""

    @cached_property
    def total(self) -> int:
        """How many there are on all pages; of a narrowed list at most one more than COUNTED."""
        if self._form.narrowed:
            return self._chosen.order_by().values("pk")[: COUNTED + 1].count()
        return Counter.of(self._account, self._kind)

    @property
    def extent(self) -> str:
        """`7 instances`, `51–100 of 7,000`, `1–50 of more than 10,000`."""
        if self.first == 1 and not self.next:
            return f"{self.total:,} {self._kind}{'' if self.total == 1 else 's'}"
        capped = self._form.narrowed and self.total > COUNTED
        return f"{self.first:,}–{self.last:,} of {f'more than {COUNTED:,}' if capped else f'{self.total:,}'}"


class Cursor(Generic[R]):
    """The newest rows, or those older than the one in the address (`?before=exec_…`): of a list that nobody counts.

    `here` is the address of the newest, so is `previous` where it is not these, and `next` that of the older ones.
    """

    def __init__(self, request: HttpRequest, rows: "QuerySet[R]", form: Filters, size: int):
        before = request.GET.get("before", "")
        found: list[Any] = list(form.chosen(self.older(rows, before) if before else rows)[: size + 1])
        self.rows: list[R] = found[:size]
        self.here = address(form.kept)
        self.previous = self.here if before else ""
        self.next = address(form.kept, before=found[size - 1].public_id) if len(found) > size else ""

    def older(self, rows: Any, before: str) -> Any:
        """What the list has after that one; an id that is none is as good as not asked."""
        try:
            return rows.filter(pk__lt=rows.model.key(before))
        except ValueError:
            return rows
