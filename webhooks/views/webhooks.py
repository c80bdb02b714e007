"""Webhooks in the dashboard: the list with everybody's health, one webhook with its deliveries, send a test, delete.

Making and changing one is in `webhook_create.py`, its secret, on and off, and sending again in `webhook_changes.py`,
one delivery in `deliveries.py`.
"""

from datetime import timedelta
from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from accounts.models.limit import MAX_WEBHOOKS
from core.errors import LambdaError
from core.events import declared
from core.models import Event
from dashboard import lists
from dashboard.calls import Call
from dashboard.forms import once
from dashboard.pages import Question, find_or_404, show_live
from webhooks.actions import deliveries, endpoints
from webhooks.models import Delivery, Endpoint
from webhooks.models.delivery import HEALTH, Health

PATH = "/v1/webhooks"
PAGE = 25
LIVE = timedelta(minutes=1)  # what is due within it is worth asking for again and again
OUTCOMES = [("", "Any"), ("delivered", "Delivered"), ("pending", "Waiting"), ("failed", "Failed")]
ANSWERS = [("", "Any"), ("2xx", "2xx"), ("3xx", "3xx"), ("4xx", "4xx"), ("5xx", "5xx"), ("none", "No answer")]
HIGH, STEP = 4, 8  # dots in a column of the strip, and how far apart they are
TONES = {"failed": "bad", "retrying": "warn", "delivered": "ok", "pending": "busy"}
SPOKEN = {
    "delivered": "arrived",
    "failed": "failed",
    "retrying": "failed so far and will be tried again",
    "pending": "not sent yet",
}


class Strip(NamedTuple):
    """The last deliveries as dots, the oldest first: a path for each tone, and the same in words.

    `rate` is the percentage of those tried that arrived; "" where none was.
    """

    paths: list[tuple[str, str]]
    words: str
    rate: str
    tone: str
    p50: int | None
    p95: int | None


class Filters(lists.Filters):
    """The API has no `answer`."""

    type = forms.ChoiceField(required=False, label="Event")
    status = forms.ChoiceField(required=False, label="Outcome", choices=OUTCOMES)
    answer = forms.ChoiceField(required=False, label="Last answer", choices=ANSWERS)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["type"].choices = [("", "Any"), *((type, type) for type in declared())]

    def select(self, rows: "QuerySet[Delivery]") -> "QuerySet[Delivery]":
        given = self.cleaned_data
        if given["type"]:
            rows = rows.filter(event_type=given["type"])
        if given["status"]:
            rows = rows.filter(state=given["status"])
        if given["answer"] == "none":
            return rows.filter(last_status=None, attempts__gt=0)
        if given["answer"]:
            least = int(given["answer"][0]) * 100
            rows = rows.filter(last_status__gte=least, last_status__lt=least + 100)
        if given["answer"] not in ("", "2xx"):
            rows = rows.filter(Q(state="pending") | Q(state="failed"))  # few, and they have an index
        return rows


class List(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = list(Endpoint.objects.for_account(request.account)[:MAX_WEBHOOKS])
        health = Delivery.objects.health(rows)
        context = {
            "webhooks": [(row, strip(health[row.pk])) for row in rows],
            "most": MAX_WEBHOOKS,
            "calls": [
                Call("What this page shows", "GET", PATH),
                Call("Add a webhook", "POST", PATH, {"url": "https://your-app.com/webhook", "events": ["*"]}),
            ],
        }
        return render(request, "webhooks/webhooks/list.html", context)


class Detail(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        form = Filters(request.GET)
        part = lists.Cursor(request, Delivery.objects.of(row), form, PAGE)
        moving = not part.previous and bool(row.replay_to or any(_soon(one, row) for one in part.rows))
        context = {
            "webhook": row,
            "deliveries": part.rows,
            "part": part,
            "form": form,
            "strip": strip(Delivery.objects.health([row])[row.pk]),
            "moving": moving,
            "now": timezone.now(),
        }
        if request.htmx:
            return show_live(request, "webhooks/webhooks/_live.html", context, moving)
        context["calls"] = _calls(row, form)
        if "events:read" in request.membership.scopes:
            context["events"] = (
                Event.objects.for_account(request.account).filter(subject_id=row.pk).exclude(type="webhook.test")[:8]
            )
        return render(request, "webhooks/webhooks/detail.html", context, status=422 if form.errors else 200)


class Test(LoginRequiredMixin, View):
    """Sends a test event, and leads to the page on which it is seen to arrive."""

    scopes = {"GET": "webhooks:write"}

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        try:
            delivery = deliveries.test(endpoint=find(request, id), by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
            return redirect("webhooks:webhook", id=id)
        return redirect("webhooks:delivery", id=delivery.public_id)


class Delete(Question):
    scopes = {"GET": "webhooks:write"}
    template, called, typed = "webhooks/webhooks/delete.html", "webhook", "host"
    after = "webhooks:webhooks"

    def find(self, request: HttpRequest, id: str) -> Endpoint:
        return find(request, id)

    def act(self, request: HttpRequest, row: Endpoint) -> str:
        endpoints.delete(endpoint=row, by=request.by)
        return f"The webhook to {row.name} is deleted."


def find(request: HttpRequest, id: str) -> Endpoint:
    return find_or_404(Endpoint.objects.for_account(request.account).select_related("account"), id)


def strip(health: Health) -> Strip:
    """Dots in columns from the left, each from above; where there are fewer than `HEALTH`, the first are empty."""
    ordered = [""] * (HEALTH - len(health.states)) + health.states[::-1]
    places: dict[str, list[str]] = {}
    for number, state in enumerate(ordered):
        x, y = number // HIGH * STEP + STEP // 2, number % HIGH * STEP + STEP // 2
        places.setdefault(TONES.get(state, "none"), []).append(f"M{x} {y}h0")
    counts = {state: health.states.count(state) for state in SPOKEN}
    said = ", ".join(f"{count} {SPOKEN[state]}" for state, count in counts.items() if count)
    tried = len(health.states) - counts["pending"]
    arrived = counts["delivered"]
    rate = f"{min(round(100 * arrived / tried), 100 if arrived == tried else 99)} %" if tried else ""
    tone = "" if not tried else "ok" if arrived == tried else "warn" if arrived >= tried * 0.9 else "bad"
    words = f"The last {len(health.states)} deliveries: {said}" if said else "Nothing was sent yet"
    return Strip([(tone, "".join(at)) for tone, at in places.items()], words, rate, tone, health.p50_ms, health.p95_ms)


def _soon(delivery: Delivery, row: Endpoint) -> bool:
    """Whether something is about to happen to it."""
    due = delivery.next_attempt_at
    return delivery.state == "pending" and row.state == "active" and due is not None and due < timezone.now() + LIVE


def _calls(row: Endpoint, form: Filters) -> list[Call]:
    path = f"{PATH}/{row.public_id}"
    query = lists.address({name: value for name, value in form.kept.items() if name != "answer"}, limit=PAGE)
    start = f"{timezone.now() - timedelta(days=1):%Y-%m-%dT%H:00:00Z}"
    return [
        Call("Get this webhook", "GET", path),
        Call("List its deliveries", "GET", f"{path}/deliveries{query}"),
        Call("Send a test event", "POST", f"{path}/test"),
        Call("Send again what did not arrive", "POST", f"{path}/replay", {"from": start, "only_undelivered": True}),
        Call("Rotate the secret", "POST", f"{path}/rotate-secret", {"overlap_hours": 24}),
        Call("Disable it", "PATCH", path, {"status": "disabled"}),
        Call("Delete it", "DELETE", path),
    ]
