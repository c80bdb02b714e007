"""Settings → Audit Log: who did what, when and from where. The filters are in the address, as those of the API are."""

from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.views import View

from accounts.models import Membership
from core.events import declared
from core.models import Event, Resource
from dashboard import lists
from dashboard.calls import Call
from dashboard.pages import show_form

PATH = "/v1/account/audit-log"
PAGE = 50
KINDS = [("user", "People"), ("api_key", "API keys"), ("api_token", "API tokens"), ("system", "Lambda itself")]
DAY = forms.DateInput(attrs={"type": "date"})


class Filters(lists.Filters):
    actor = forms.CharField(required=False, label="Who")
    type = forms.CharField(required=False, label="What", widget=forms.TextInput(attrs={"list": "types"}))
    subject = forms.CharField(required=False, label="To what", max_length=64)
    since = forms.DateField(required=False, label="From", widget=DAY)
    until = forms.DateField(required=False, label="To", widget=DAY)
    request_id = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["type"].widget.attrs["placeholder"] = "instance.*"
        self.fields["subject"].widget.attrs["placeholder"] = "inst_… or ak_…"

    def clean_type(self) -> str:
        text = self.cleaned_data["type"].replace(" ", "")
        for pattern in filter(None, text.split(",")):
            if not matching(pattern):
                raise ValidationError(f"No event type reads “{pattern}”. Try instance.* or api_key.created")
        return text

    def clean_subject(self) -> str:
        text = self.cleaned_data["subject"].strip()
        try:
            if text:
                Resource.key_behind(text)
        except ValueError:
            raise ValidationError("This is no id: it reads like inst_… or ak_…") from None
        return text

    def select(self, rows: "QuerySet[Event]") -> "QuerySet[Event]":
        given = self.cleaned_data
        if actor := given["actor"]:
            rows = rows.filter(Q(actor_id=actor) | Q(actor_kind=actor))
        if given["type"]:
            rows = rows.filter(type__in={type for one in given["type"].split(",") for type in matching(one)})
        if subject := given["subject"]:
            rows = rows.filter(subject_id=Resource.key_behind(subject))
        if given["request_id"]:
            rows = rows.filter(request_id=given["request_id"])
        moments = self.moments()
        if "since" in moments:
            rows = rows.filter(at__gte=moments["since"])
        if "until" in moments:
            rows = rows.filter(at__lt=moments["until"])
        return rows

    def moments(self) -> dict[str, datetime]:
        """The days as moments of UTC; the last day counts in full."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        found = {"since": since, "until": until and until + timedelta(days=1)}
        return {name: datetime.combine(day, time(), UTC) for name, day in found.items() if day}

    def query(self) -> str:
        """The same filters as the API writes them."""
        given = {name: self.cleaned_data[name] for name in ("actor", "type", "subject", "request_id")}
        moments = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in self.moments().items()}
        return urlencode({name: value for name, value in (given | moments).items() if value})


class Entries(lists.Cursor[Event]):
    def older(self, rows: Any, before: str) -> Any:
        """In commit order, which is not that of the ids."""
        try:
            last = rows.filter(id=Event.key(before)).first()
        except ValueError:
            last = None
        return rows.until(last).exclude(pk=last.pk) if last else rows


class Log(LoginRequiredMixin, View):
    scopes = {"GET": "audit:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        form = Filters(request.GET)
        part = Entries(request, Event.objects.for_account(request.account), form, PAGE)
        for event in part.rows:
            event.subject = event.data.get(f"{event.subject_kind}_id", "")
        query = "" if form.errors else form.query()
        context = {
            "events": part.rows,
            "part": part,
            "export": f"{PATH}?{query}{'&' if query else ''}format=ndjson",
            "calls": [Call("Read the log", "GET", f"{PATH}?{query}" if query else PATH)],
            "actors": _actors(request),
            "types": declared(),
        }
        return show_form(request, "accounts/audit/log.html", form, **context)


def matching(pattern: str) -> list[str]:
    return [type for type in declared() if fnmatchcase(type, pattern)]


def _actors(request: HttpRequest) -> list[tuple[str, list[tuple[str, str]]]]:
    """Whom the log can be narrowed to: kinds, members, and whoever the address already names."""
    members = [
        (member.user.public_id, member.name)
        for member in Membership.objects.filter(account=request.account).select_related("user")[:100]
    ]
    known = {value for value, _ in [*KINDS, *members]}
    asked = request.GET.get("actor", "")
    extra = [("This one", [(asked, asked)])] if asked and asked not in known else []
    return [*extra, ("Kinds", KINDS), ("Members", members)]
