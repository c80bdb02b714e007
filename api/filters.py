"""What a list can be narrowed by and in which order: declared beside its view, read and refused here, once.

A name or a value that a list does not know is a 400 that says what it knows: a filter that is silently ignored is a
mistake that somebody finds too late.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Value

from api.pagination import cut, page
from api.renderers import Page
from core.errors import FieldError, Invalid
from core.models import COUNTED

PAGING = ("page", "limit")
T = TypeVar("T")


class MomentField(forms.CharField):
    """RFC 3339, answered in UTC; a date alone is its midnight."""

    def to_python(self, value: Any) -> datetime | None:  # type: ignore[override]
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("is no time; write it like 2026-01-24T10:30:00Z (a + must be sent as %2B)") from None


class AnyOfField(forms.CharField):
    """One or more of the allowed texts, separated by commas. `allowed` maps each text to what the column holds."""

    def __init__(self, *, allowed: Callable[[], Mapping[str, str]], **options: Any):
        super().__init__(**options)
        self.allowed = allowed

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        if not value:
            return []
        known = self.allowed()
        for text in (words := [word.strip() for word in value.split(",")]):
            if text not in known:
                names = list(dict.fromkeys(known.values()))
                raise ValidationError(f"cannot be '{text}'. Allowed: {', '.join(names)}", params={"allowed": names})
        return [known[text] for text in words]


class TagsField(forms.Field):
    """`key:value`, as often as one likes."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: list[str] | None) -> list[str]:
        for text in value or []:
            if ":" not in text:
                raise ValidationError(f"must read key:value, not '{text}'")
        return value or []


class HasTag(models.Func):
    """Whether the JSON object in a column has this `key:value`, asked for as one text: both may have colons too."""

    output_field = models.BooleanField()

    def __init__(self, column: str, pair: str):
        super().__init__(F(column), Value(pair))

    def _compiled(self, compiler: Any, template: str) -> tuple[str, tuple[Any, ...]]:
        parts = [compiler.compile(expression) for expression in self.source_expressions]
        return template.format(*(sql for sql, _ in parts)), tuple(value for _, values in parts for value in values)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        member = "SELECT 1 FROM json_each({0}) AS tag WHERE tag.key || ':' || tag.value = {1}"
        return self._compiled(compiler, f"EXISTS ({member})")

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        member = "SELECT 1 FROM jsonb_each_text({0}) AS tag WHERE tag.key || ':' || tag.value = {1}"
        return self._compiled(compiler, f"EXISTS ({member})")


class HasWord(models.Func):
    """Whether the JSON array in a column has this text."""

    output_field = models.BooleanField()

    def __init__(self, column: str, word: str):
        super().__init__(F(column), Value(word))

    def _compiled(self, compiler: Any, template: str) -> tuple[str, tuple[Any, ...]]:
        (column, one), (word, two) = (compiler.compile(expression) for expression in self.source_expressions)
        return template.format(column, word), (*one, *two)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        return self._compiled(compiler, "EXISTS (SELECT 1 FROM json_each({0}) AS word WHERE word.value = {1})")

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        return self._compiled(compiler, "({0} @> jsonb_build_array({1}::text))")


class MomentFilter(django_filters.Filter):
    field_class = MomentField


class AnyOf(django_filters.Filter):
    """`status=running,stopped`: the column is one of them."""

    field_class = AnyOfField

    def __init__(self, field_name: str, allowed: Callable[[], Mapping[str, str]], **options: Any):
        super().__init__(field_name, "in", allowed=allowed, **options)


class Tags(django_filters.Filter):
    """`tag=env:prod&tag=team:web`: the row has all of them."""

    field_class: type[forms.Field] = TagsField

    def filter(self, rows: Any, wanted: list[str]) -> Any:
        for pair in wanted or []:
            rows = rows.filter(HasTag(self.field_name, pair))
        return rows


class WordsField(forms.Field):
    """A word, as often as one likes."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: list[str] | None) -> list[str]:
        return value or []


class Words(Tags):
    """`tag=login&tag=eu`: the row's list has all of them."""

    field_class = WordsField

    def filter(self, rows: Any, wanted: list[str]) -> Any:
        for word in wanted or []:
            rows = rows.filter(HasWord(self.field_name, word))
        return rows


class Filters(django_filters.FilterSet):
    """The filters of one list. `sorts` maps what one can sort by to the column; ties are broken by the key.

    Keys are UUIDv7, so their order is that of creation and needs no index of its own.
    """

    sorts: ClassVar[dict[str, str]] = {"created_at": "pk", "name": "name"}

    created_after = MomentFilter(lookup_expr="gt", field_name="created_at", label="Made after this time.")
    created_before = MomentFilter(lookup_expr="lt", field_name="created_at", label="Made before this time.")

    @classmethod
    def query(cls) -> dict[str, dict[str, Any]]:
        """The query parameters of the list, with their JSON Schemas, for `ViewSet.query`."""
        narrowing = {name: _described(one) for name, one in cls.base_filters.items()}
        found = {**{name: {} for name in PAGING}, **narrowing}
        if cls.sorts:
            found["sort"] = {"enum": [*cls.sorts], "default": "created_at", "description": "What to sort by."}
            found["order"] = {"enum": ["asc", "desc"], "default": "desc", "description": "In which direction."}
        return found

    @classmethod
    def asked(cls, request: Any) -> bool:
        """Whether the request wants anything but a page of everything, newest first."""
        return any(name not in PAGING for name in request.query_params)

    @classmethod
    def select(cls, request: Any, rows: Any) -> tuple[Any, bool]:
        """The rows asked for, in the order asked for, and whether they are fewer than all. Raises Invalid."""
        given = request.query_params
        errors = [
            FieldError(name, f"{name} needs a value, or leave it out", "")
            for name in given
            if name in cls.base_filters and not given[name]
        ]
        chosen = cls(data=given, queryset=rows)
        found = chosen.errors.as_data().items()
        errors += [_error(name, wrong, given) for name, many in found if given[name] for wrong in many]
        for name, allowed in (("sort", [*cls.sorts]), ("order", ["asc", "desc"])):
            if name in given and given[name] not in allowed:
                message = f"{name} cannot be '{given[name]}'. Allowed: {', '.join(allowed)}"
                errors.append(FieldError(name, message, given[name], allowed))
        if errors:
            raise Invalid(errors=errors)
        return cls._ordered(given, chosen.qs), any(name in cls.base_filters for name in given)

    @classmethod
    def _ordered(cls, given: Mapping[str, str], rows: Any) -> Any:
        if not cls.sorts:
            return rows
        sign = "-" if given.get("order", "desc") == "desc" else ""
        return rows.order_by(*dict.fromkeys([sign + cls.sorts[given.get("sort", "created_at")], f"{sign}pk"]))

    @classmethod
    def page(
        cls, request: Any, rows: Any, show: Callable[[Any], T], *, total: Callable[[], int] | None = None
    ) -> Page[T]:
        """The page asked for. `total` counts all rows where nothing narrows them; else they are counted, to COUNTED."""
        number, limit = page(request)
        rows, narrowed = cls.select(request, rows)
        items = [show(row) for row in cut(rows, number, limit)]
        if total and not narrowed:
            return Page(items, number, limit, total())
        count = rows.order_by().values("pk")[: COUNTED + 1].count()
        return Page(items, number, limit, min(count, COUNTED), capped=count > COUNTED)


def _described(one: django_filters.Filter) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "string", "description": str(one.label)}
    if isinstance(one, Tags):
        return {"type": "array", "items": {"type": "string"}, "description": shape["description"]}
    return shape | {"format": "date-time"} if isinstance(one, MomentFilter) else shape


def _error(name: str, wrong: ValidationError, given: Any) -> FieldError:
    value = given.getlist(name)[0] if given.getlist(name) else None
    return FieldError(name, f"{name} {wrong.message}", value, (wrong.params or {}).get("allowed"))
