"""`/v1/account/audit-log`: who did what, when and from where; as pages, or as one NDJSON file.

The same rows as `/v1/events`, with the address. The hash chain over them is in `accounts/models/audit_seal.py`.
"""

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict
from uuid import UUID

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from rest_framework.renderers import BaseRenderer

from api.errors import UnknownParameter
from api.events import EventOut, TypeFilter
from api.events import representation as event_representation
from api.filters import PAGING, Filters, MomentFilter
from api.renderers import Answer, EnvelopeRenderer, Lines, Page, dumps, like
from api.views import ViewSet
from core.errors import Invalid
from core.models import Event, Resource

BATCH = 1000  # rows of an export read at once


class SubjectOut(TypedDict):
    kind: Annotated[str, like("instance")]
    id: Annotated[str | None, like("inst_01m803p6fsep5t56hn7y1dmqyp")]  # of whatever kind


class AuditEntryOut(EventOut):
    ip: Annotated[str | None, like("203.0.113.7"), "Where the request came from."]
    subject: Annotated[SubjectOut | None, "What it happened to."]


def representation(event: Event) -> AuditEntryOut:
    kind = event.subject_kind
    return {
        **event_representation(event),
        "ip": event.ip or None,
        "subject": {"kind": kind, "id": event.data.get(f"{kind}_id")} if kind else None,
    }


class SubjectField(forms.CharField):
    """A public id of whatever kind, as the key that it holds."""

    def to_python(self, value: Any) -> UUID | None:  # type: ignore[override]
        if not value:
            return None
        try:
            return Resource.key_behind(value)
        except ValueError:
            raise ValidationError("must be an id such as inst_…, FUNC_… or ak_…") from None


class SubjectFilter(django_filters.Filter):
    field_class = SubjectField


class AuditFilters(Filters):
    sorts = {}  # always in the order of the log
    created_after = created_before = None  # type: ignore[assignment]  # a log has since and until

    type = TypeFilter()
    actor = django_filters.CharFilter(
        method="by_actor", label="The id of a user or key, or a kind: user, api_key, system."
    )
    subject = SubjectFilter("subject_id", label="The id of what it happened to.")
    request_id = django_filters.CharFilter(label="The request in which it happened.")
    ip = django_filters.CharFilter(label="From this address.")
    since = MomentFilter("at", "gte", label="From this time on.")
    until = MomentFilter("at", "lt", label="Before this time.")

    def by_actor(self, rows: Any, name: str, value: str) -> Any:
        return rows.filter(Q(actor_id=value) | Q(actor_kind=value))


class NdjsonRenderer(BaseRenderer):
    """Lets `Accept: application/x-ndjson` be asked for. The view streams; what comes here is a refusal, as JSON."""

    media_type = Lines.media_type
    format = "ndjson"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        renderer_context["response"]["Content-Type"] = EnvelopeRenderer.media_type
        return EnvelopeRenderer().render(data, accepted_media_type, renderer_context)


class AuditLog(ViewSet):
    """Who did what, when and from where. Nothing is ever removed from it, and a hash chain would show it."""

    scopes = {"list": "audit:read"}
    query = {
        "list": {
            **AuditFilters.query(),
            "format": {
                "type": "string",
                "enum": ["json", "ndjson"],
                "default": "json",
                "description": "`ndjson`, or `Accept: application/x-ndjson`: all that match, oldest first, one a line.",
            },
        }
    }
    renderer_classes = [*ViewSet.renderer_classes, NdjsonRenderer]

    def list(self, request) -> Answer[Page[AuditEntryOut]] | Lines[AuditEntryOut]:
        """List what was done, or export it."""
        rows: Any = Event.objects.for_account(request.account)
        if self._exports(request):
            rows, _ = AuditFilters.select(request, rows.committed())
            return Lines(_lines(rows))
        return Answer(AuditFilters.page(request, rows, representation))

    def _exports(self, request) -> bool:
        given = request.query_params
        format = given.get("format", request.accepted_renderer.format)
        if format == "ndjson":
            if paged := [name for name in PAGING if name in given]:
                raise UnknownParameter.among(paged, [name for name in self.understood() if name not in PAGING])
            return True
        if format not in ("json", "api"):
            raise Invalid.field("format", f"format cannot be '{format}'", value=format, allowed=["json", "ndjson"])
        return False


def _lines(rows: Any) -> Iterator[bytes]:
    """Batch by batch from where the last one ended: no transaction stays open while a slow client reads."""
    batch = list(rows[:BATCH])
    while batch:
        yield b"".join(dumps(representation(event)) + b"\n" for event in batch)
        batch = list(rows.after(batch[-1])[:BATCH]) if len(batch) == BATCH else []
