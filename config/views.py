"""The home page, which knows every app. What it says is read in `overview.py`."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from config import overview
from core.models import Event
from dashboard.calls import Call
from dashboard.pages import show_live

STEPS = ("ssh_key", "api_key", "called", "instance")
ACTIVITY = 6
CALLS = [
    Call("What runs", "GET", "/v1/instances"),
    Call("What it costs this month", "GET", "/v1/usage"),
    Call("What is left of the plan", "GET", "/v1/account/limits"),
    Call("What happened lately", "GET", "/v1/events"),
]


class Home(LoginRequiredMixin, View):
    """What comes by itself is asked for by `?part=`: `first-call` until it was made, `newest` while one moves,
    `activity` once."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.account is None:
            return render(request, "home/no_account.html")
        part, sees = request.GET.get("part"), request.membership.scopes
        if request.htmx and part == "activity" and "events:read" in sees:
            context = {"events": Event.objects.for_account(request.account)[:ACTIVITY], "whole": True}
            return render(request, "home/_activity.html", context)
        if request.htmx and part == "newest" and "instances:read" in sees:
            newest, _ = overview.machines(request.account)
            moving = any(row.moving for row in newest)
            return show_live(request, "home/_newest.html", {"instances": newest, "moving": moving}, moving)
        known = overview.facts(request.account)
        if request.htmx and part == "first-call" and "api_keys:read" in sees:
            return show_live(request, "home/_first_call.html", {"known": known}, not known["called"])
        return render(request, "home/home.html", self._context(request, known))

    def _context(self, request: HttpRequest, known: dict[str, Any]) -> dict[str, Any]:
        account, sees = request.account, request.membership.scopes
        newest, failed = overview.machines(account) if "instances:read" in sees else ([], [])
        chart, count = overview.requests(account) if "api_keys:read" in sees else (None, 0)
        return {
            "known": known,
            "calls": CALLS,
            "instances": newest,
            "moving": any(row.moving for row in newest),
            "alerts": overview.alerts(account, known, failed, sees),
            "spending": overview.spending(account, known["hourly"]) if "billing:read" in sees else None,
            "requests": chart,
            "request_count": count,
            "quotas": overview.quotas(account, known) if "account:read" in sees else [],
            "begins": "instances:create" in sees and not all(known[step] for step in STEPS),
        }
