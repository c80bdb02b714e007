"""One delivery in the dashboard: what was sent, what came back, every attempt, when the next one is, and resending."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from core import ids
from core.errors import LambdaError
from core.models import Event
from dashboard.calls import Call, as_json, colour
from dashboard.forms import once
from dashboard.pages import find_or_404, show_live
from webhooks.actions import deliveries
from webhooks.models import Attempt, Delivery
from webhooks.models.delivery import TRIES, unsigned

ATTEMPTS = 50  # of the newest that are listed
BIG = ("request_headers", "response_headers", "response_body")
NEAR = timedelta(minutes=2)  # what is due within it is asked for every other second, anything later twice a minute


class Detail(LoginRequiredMixin, View):
    """`?attempt=` chooses what is shown in full, else it is the newest.

    While one is awaited the page asks again and again and gets the state, and the newest attempt where that is not
    the one it has (`?shown=`).
    """

    scopes = {"GET": "webhooks:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        delivery = find(request, id)
        tried = list(Attempt.objects.filter(delivery=delivery).order_by("-id").defer(*BIG)[:ATTEMPTS])
        asked, has = request.GET.get("attempt", ""), request.GET.get("shown", "")
        newest = str(tried[0].pk) if tried else ""
        chosen = asked if asked in {str(one.pk) for one in tried} else newest
        moving = delivery.state == "pending" and delivery.endpoint.state == "active"
        due = delivery.next_attempt_at
        context = {
            "delivery": delivery,
            "webhook": delivery.endpoint,
            "tried": tried,
            "chosen": chosen,
            "moving": moving,
            "seconds": max(int((due - timezone.now()).total_seconds()), 0) if due else 0,
            "every": "2s" if due and due < timezone.now() + NEAR else "30s",
            "poll": f"?{urlencode({'attempt': asked} if asked else {'shown': newest})}",
            "tries": TRIES,
        }
        if request.htmx:
            changed = not asked and has != newest
            if changed:
                context |= sent(delivery, chosen)
            template = "webhooks/deliveries/_live.html" if changed else "webhooks/deliveries/_status.html"
            return show_live(request, template, context, moving)
        context |= sent(delivery, chosen) | {"calls": _calls(delivery)}
        context["event_id"] = ids.encode(Event.prefix, delivery.event_id)
        return render(request, "webhooks/deliveries/detail.html", context)


class Resend(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:write"}

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        try:
            deliveries.redeliver(delivery=find(request, id), account=request.account, by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, "It is sent once more, with the same id and body.")
        return redirect("webhooks:delivery", id=id)


def find(request: HttpRequest, id: str) -> Delivery:
    mine = Delivery.objects.filter(endpoint__account=request.account).exclude(endpoint__state="deleted")
    return find_or_404(mine.select_related("endpoint"), id)


def sent(delivery: Delivery, chosen: str) -> dict[str, Any]:
    """What the chosen attempt sent and got, to the byte; before the first one, the body that will be signed."""
    event = delivery.event
    attempt = Attempt.objects.get(pk=chosen) if chosen else None
    raw = (attempt.body(event) if attempt else unsigned(event)).decode()
    return {
        "attempt": attempt,
        "raw": raw,
        "size": len(raw.encode()),
        "indented": colour(as_json(json.loads(raw))),
        "sent_headers": _lines(attempt.request_headers) if attempt else "",
        "answer_headers": _lines(attempt.response_headers) if attempt else "",
    }


def _lines(headers: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def _calls(delivery: Delivery) -> list[Call]:
    path = f"/v1/webhooks/{delivery.endpoint.public_id}/deliveries/{delivery.public_id}"
    event = f"/v1/events/{ids.encode(Event.prefix, delivery.event_id)}"
    return [
        Call("What this page shows", "GET", path),
        Call("Send it again", "POST", f"{path}/redeliver"),
        Call("The event behind it", "GET", event),
    ]
