"""One delivery in the dashboard: what was sent, byte by byte, what came back, every attempt, when the next is. Resend."""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View
from django_htmx.http import HTMX_STOP_POLLING

from core import ids
from core.errors import LambdaError
from core.models import Event
from dashboard.calls import Call, as_json, colour
from dashboard.forms import once
from dashboard.pages import find_or_404
from webhooks.actions import deliveries
from webhooks.models import Attempt, Delivery
from webhooks.models.delivery import TRIES, unsigned

ATTEMPTS = 50  # of the newest that are listed
BIG = ("request_headers", "response_headers", "response_body")


class Detail(LoginRequiredMixin, View):
    """While an attempt is awaited an htmx request gets what has changed; `shown` is the attempt that it has already."""

    scopes = {"GET": "webhooks:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        delivery = find(request, id)
        tried = list(Attempt.objects.filter(delivery=delivery).order_by("-id").defer(*BIG)[:ATTEMPTS])
        asked = request.GET.get("attempt", "")
        chosen = next((one.pk for one in tried if str(one.pk) == asked), tried[0].pk if tried else None)
        moving = delivery.state == "pending" and delivery.endpoint.state == "active"
        context = {
            "delivery": delivery,
            "webhook": delivery.endpoint,
            "tried": tried,
            "chosen": chosen,
            "moving": moving,
            "poll": f"?attempt={asked}" if asked else f"?shown={chosen or ''}",
            "left": delivery.tries,
            "tries": TRIES,
        }
        if request.htmx and (asked or request.GET.get("shown", "") == str(chosen or "")):
            return render(request, "webhooks/deliveries/_status.html", context, status=_status(moving))
        event = delivery.event
        context["attempt"] = attempt = Attempt.objects.filter(pk=chosen).first() if chosen else None
        body = attempt.body(event) if attempt else unsigned(event)
        context |= {"body": colour(body.decode()), "raw": body.decode(), "size": len(body)}
        if attempt:
            context["sent_headers"] = _lines(attempt.request_headers)
            context["answer_headers"] = _lines(attempt.response_headers)
        if request.htmx:
            return render(request, "webhooks/deliveries/_live.html", context, status=_status(moving))
        context |= {
            "indented": colour(as_json({**_read(event), **({"signature": attempt.signature} if attempt else {})})),
            "event_id": ids.encode(Event.prefix, delivery.event_id),
            "calls": _calls(delivery),
        }
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
