"""Reading request fields: DRF serializers whose every complaint names field, value and what is allowed."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request

from api.errors import UnknownParameter
from core.errors import FieldError, Invalid


class Input(serializers.Serializer[Any]):
    """A request body. `Input.read(request)` answers the validated fields or raises Invalid with all that is wrong."""

    example: ClassVar[dict[str, Any]] = {}  # shown in the documentation; the tests send it

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        fields, errors = cls._parse(request)
        if errors:
            raise Invalid(errors=errors)
        return fields

    @classmethod
    def sift(cls, request: Request) -> dict[str, Any]:
        """The fields that are right; where others are not, `wrong`: for a verb that raises it with what it finds.

        What such a verb cannot do without is there, but empty.
        """
        fields, errors = cls._parse(request)
        return fields | {"wrong": errors} if errors else fields

    @classmethod
    def _parse(cls, request: Request) -> tuple[dict[str, Any], list[FieldError]]:
        data = request.data
        if not isinstance(data, dict):
            raise Invalid("The request body must be a JSON object", suggestion='Send something like {"name": "…"}.')
        serializer = _reader(cls)
        if unknown := [name for name in data if name not in serializer.fields]:
            raise UnknownParameter.among(unknown, list(serializer.fields), what="field")
        try:
            return serializer.run_validation(data), []
        except serializers.ValidationError as wrong:
            errors = list(_errors(wrong.detail, serializer.fields, data))
        needed = {name: field.initial for name, field in serializer.fields.items() if field.required}
        return needed | dict(_sound(serializer.fields, data)), errors


@cache
def _reader(kind: type[Input]) -> Input:
    """One serializer for all requests: validating keeps nothing in it, and copying its fields is most of its cost."""
    return kind()


def _sound(fields: Any, data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, field in fields.items():
        if name in data:
            with suppress(serializers.ValidationError, serializers.SkipField):
                yield name, field.run_validation(data[name])


def _errors(found: Any, fields: Any, data: Any, path: str = "") -> Iterator[FieldError]:
    """DRF's nested error lists as one flat list with dotted paths. What is `write_only` is not repeated to anybody."""
    for name, messages in found.items():
        field = fields.get(name) if hasattr(fields, "get") else None
        value = (
            data.get(name)
            if isinstance(data, dict)
            else data[name]
            if isinstance(data, list) and isinstance(name, int)
            else None
        )
        if getattr(field, "write_only", False):
            value = None
        where = f"{path}{name}"
        if isinstance(messages, dict):
            child = getattr(field, "child", None)
            inner = getattr(field, "fields", None) or dict.fromkeys(messages, child)
            yield from _errors(messages, inner, value, f"{where}.")
            continue
        choices = getattr(field, "choices", None)
        for message in messages:
            yield FieldError(where, _sentence(where, str(message)), value, list(choices) if choices else None)


def _sentence(field: str, message: str) -> str:
    """DRF says "This field is required."; people want to know which."""
    for start in ("This field ", "This value "):
        if message.startswith(start):
            return f"{field} {message.removeprefix(start)}".rstrip(".")
    return f"{field}: {message}".rstrip(".")
