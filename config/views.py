"""The home page, which knows every app."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.models import ApiKey
from compute.models import Instance, SshKey
from core.models import Event


class Home(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        if request.account is None:
            return render(request, "home.html", {"counts": {}})
        sees = request.membership.scopes
        instances = list(Instance.objects.for_account(request.account)[:5]) if "instances:read" in sees else []
        counts = {
            "api_keys": ApiKey.objects.for_account(request.account).working().count(),
            "ssh_keys": SshKey.objects.for_account(request.account).count(),
            "instances": Instance.objects.filter(account=request.account).count(),
            "running": Instance.objects.filter(account=request.account, state="running").count(),
        }
        events = Event.objects.for_account(request.account)[:8] if "events:read" in sees else []
        return render(request, "home.html", {"counts": counts, "instances": instances, "events": events})
