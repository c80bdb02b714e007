"""What can be done with a webhook besides changing it: another secret, off and on, send events again."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from core.errors import LambdaError
from dashboard.forms import explain, once
from dashboard.pages import show_form, unkept
from webhooks.actions import endpoints
from webhooks.models import Endpoint
from webhooks.models.delivery import KEPT
from webhooks.views.webhook_create import PATIENT, reveal
from webhooks.views.webhooks import find

OVERLAPS = [("24", "For 24 hours"), ("0", "Not at all"), ("1", "For 1 hour"), ("168", "For 7 days")]
WHICH = [("undelivered", "What has not arrived"), ("all", "Everything, also what has arrived")]
MINUTE = "%Y-%m-%dT%H:%M"


class RotateForm(forms.Form):
    overlap_hours = forms.TypedChoiceField(label="The old secret goes on signing", choices=OVERLAPS, coerce=int)
    secret = forms.CharField(
        required=False,
        strip=False,
        label="New secret",
        help_text="Leave it empty and a good one is made; your own has 16 bytes or more.",
        widget=forms.TextInput(attrs=PATIENT | {"class": "mono"}),
    )


class Moment(forms.DateTimeField):
    """A moment of UTC to the minute."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MINUTE)


class ReplayForm(forms.Form):
    """Named as the API's fields are; `from` is a word of Python's own, so it is added by name."""

    which = forms.ChoiceField(label="What", choices=WHICH, initial="undelivered", widget=forms.RadioSelect)
    to = Moment(label="To (UTC)", required=False, help_text="Empty: until now.")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        start = Moment(label="From (UTC)", help_text=f"At most {KEPT.days} days ago.")
        self.fields = {"from": start, "to": self.fields["to"], "which": self.fields["which"]}


class Rotate(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return self._page(request, find(request, id), RotateForm(initial={"overlap_hours": "24"}))

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        form = RotateForm(request.POST)
        if form.is_valid():
            hours, secret = form.cleaned_data["overlap_hours"], form.cleaned_data["secret"] or None
            try:
                made = endpoints.rotate_secret(endpoint=row, by=request.by, overlap_hours=hours, secret=secret)
            except LambdaError as refused:
                explain(form, refused)
            else:
                return reveal(request, *made, rotated=True)
        return self._page(request, row, form)

    def _page(self, request: HttpRequest, row: Endpoint, form: RotateForm) -> HttpResponse:
        under_way = row.old_secret_until if row.in_overlap(timezone.now()) else None
        context = {"webhook": row, "overlaps": OVERLAPS, "under_way": under_way}
        # It may hold the secret that was typed.
        return unkept(show_form(request, "webhooks/webhooks/rotate.html", form, **context))


class Switch(LoginRequiredMixin, View):
    """Off, or on again; then what was missed meanwhile is sent, unless its owner says otherwise."""

    scopes = {"GET": "webhooks:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        since = missed_since(row)
        context = {"webhook": row, "missed_since": since, "recovery": _body(since) if since else None}
        return render(request, "webhooks/webhooks/switch.html", context)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        status, since = request.POST.get("status", ""), missed_since(row)
        if status == "disabled":
            endpoints.update(endpoint=row, by=request.by, status="disabled")
            messages.success(request, f"Nothing more is sent to {row.name}. What waits is kept.")
        elif status == "active":
            recover = since if request.POST.get("recover") else None
            try:
                endpoints.enable(endpoint=row, by=request.by, recover_since=recover)
            except LambdaError as refused:
                messages.error(request, refused.message)
            else:
                follows = " What it missed follows now." if recover else ""
                messages.success(request, f"Events are sent to {row.name} again.{follows}")
        return redirect("webhooks:webhook", id=id)


class Replay(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        start = row.failing_since or timezone.now() - timedelta(days=1)
        return self._page(request, row, ReplayForm(initial={"from": max(start, _first())}))

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        form = ReplayForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            try:
                endpoints.replay(
                    endpoint=row,
                    by=request.by,
                    from_=given["from"],
                    to=given["to"] or timezone.now(),
                    only_undelivered=given["which"] == "undelivered",
                )
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"The events of that time are on their way to {row.name}.")
                return redirect("webhooks:webhook", id=id)
        return self._page(request, row, form)

    def _page(self, request: HttpRequest, row: Endpoint, form: ReplayForm) -> HttpResponse:
        body = _body(timezone.now() - timedelta(days=1))
        return show_form(request, "webhooks/webhooks/replay.html", form, webhook=row, body=body)


def missed_since(row: Endpoint) -> datetime | None:
    """Since when a disabled webhook has missed events, as far back as they are kept."""
    if row.state != "disabled" or row.disabled_at is None:
        return None
    return max(row.failing_since or row.disabled_at, _first())


def _first() -> datetime:
    """The earliest moment that a replay may begin at, with room for the reader to think about it."""
    return timezone.now() - KEPT + timedelta(hours=1)


def _body(since: datetime) -> dict[str, Any]:
    return {"from": f"{since:%Y-%m-%dT%H:%M:00Z}", "only_undelivered": True}
