"""Settings → Plan & Limits: what the plan allows, how much of it is in use, and what the other plans would."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.models.limit import Limit, limits
from api.limits import limiter
from catalog.models import Plan
from dashboard.calls import Call

# The name of each limit in words, and what to do when it is reached.
WORDS = {
    "requests": ("API requests this hour", "They are refused with 429 until the hour ends."),
    "instances": ("Instances", "Delete one that is no longer needed."),
    "vcpus": ("vCPUs of all instances", "Delete or shrink an instance."),
    "ssh_keys": ("SSH keys", "Delete one that is no longer needed."),
    "functions": ("Functions", "Delete one that is no longer needed."),
    "api_keys": ("API keys", "Revoke one that is no longer needed."),
    "webhooks": ("Webhooks", "Delete one that is no longer needed."),
}
CALLS = [Call("See what is left", "GET", "/v1/account/limits"), Call("Compare the plans", "GET", "/v1/plans")]


class Limits(LoginRequiredMixin, View):
    scopes = {"GET": "account:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        account = request.account
        used = limiter().used(f"account:{account.pk}")
        rows = [Limit("requests", account.plan.requests_per_hour, used), *limits(account)]
        shown = [(*row, *WORDS.get(row.name, (row.name, ""))) for row in rows]
        context = {"limits": shown, "plans": list(Plan.objects.on_sale()), "calls": CALLS}
        return render(request, "accounts/account/limits.html", context)
