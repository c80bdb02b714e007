"""The six families of refusal. A verb raises the broken fact; `api/errors.py` turns a family into a status.

An exception's `code` is what clients switch on (the table of the contract); its text is for people: what is
wrong, which field, what is allowed, what to do next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request."""

    field: str
    message: str
    value: Any = None
    allowed_values: list[Any] | None = None


class LambdaError(Exception):
    """A refusal with a code, a text and, in `details`, the facts a program may act on."""

    code = "server_error"

    def __init__(self, message: str, *, suggestion: str = "", **details: Any):
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion
        self.details = details


class Invalid(LambdaError):
    """The request says something that cannot be: one or more fields are wrong."""

    code = "invalid_request"

    def __init__(
        self, message: str = "", *, errors: list[FieldError] | None = None, suggestion: str = "", **details: Any
    ):
        self.errors = errors or []
        headline = message or (self.errors[0].message if self.errors else "Invalid request")
        super().__init__(headline, suggestion=suggestion, **details)

    @classmethod
    def field(cls, name: str, message: str, *, value: Any = None, allowed: list[Any] | None = None) -> "Invalid":
        return cls(errors=[FieldError(name, message, value, allowed)])


def joined(wrong: Sequence[FieldError], found: Iterable[FieldError]) -> list[FieldError]:
    """All that is wrong with a request: as it was read, and in what it says. Of one field only the first is told."""
    told = {error.field.partition(".")[0] for error in wrong}
    return [*wrong, *(error for error in found if error.field.partition(".")[0] not in told)]


class NotFound(LambdaError):
    """There is no such thing in this account."""

    code = "not_found"


class NotAllowed(LambdaError):
    """The caller may not do this."""

    code = "forbidden"


class Conflict(LambdaError):
    """The thing is in a state in which this cannot be done."""

    code = "conflict"


class LimitExceeded(LambdaError):
    """A quota, a budget or a rate is used up."""

    code = "quota_exceeded"


class Unavailable(LambdaError):
    """Nothing is wrong with the request: the platform cannot carry it out now. `retry_after` in seconds."""

    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after: int = 5, suggestion: str = "", **details: Any):
        super().__init__(message, suggestion=suggestion, **details)
        self.retry_after = retry_after


def checked_name(name: str) -> str:
    """What people call a thing of theirs, without the spaces around it. Raises Invalid beyond 1 to 100 characters."""
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Invalid.field("name", "name must have 1 to 100 characters", value=name)
    return name
