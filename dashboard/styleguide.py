"""`/styleguide`, in development alone: every token and every part on one page, to look at in both themes."""

import re
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from dashboard.calls import Call
from dashboard.templatetags.ui import TONES


class Example(forms.Form):
    name = forms.CharField(help_text="It becomes the host name.", initial="web-1")
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    region = forms.ChoiceField(choices=[("us-east-1", "N. Virginia · us-east-1"), ("eu-west-1", "Ireland · eu-west-1")])
    size = forms.ChoiceField(widget=forms.RadioSelect, choices=[("s", "Small"), ("l", "Large")], initial="s")
    protected = forms.BooleanField(required=False, label="Protect from deletion", help_text="Take it away to delete.")


def styleguide(request: HttpRequest) -> HttpResponse:
    """404 outside of development."""
    if settings.PRODUCTION:
        raise Http404
    found = finders.find("lambda.css")
    with open(str(found), encoding="utf-8") as file:
        names = re.findall(r"--([\w-]+): (?:light-dark|oklch)\(", file.read().partition("@layer base")[0])
    now = timezone.now()
    context: dict[str, Any] = {
        "colours": [name for name in dict.fromkeys(names) if not name.startswith("shadow")],
        "tones": {tone: sorted(states) for tone, states in TONES.items()},
        "form": Example(),
        "wrong": Example({"name": "", "region": "mars"}, prefix="wrong"),
        "calls": [
            Call(
                "Create instance", "POST", "/v1/instances", {"name": "web-1", "image": "debian-12", "ssh_keys": ["me"]}
            ),
            Call("List instances", "GET", "/v1/instances?status=running"),
        ],
        "moments": [now, now - timedelta(minutes=5), now + timedelta(days=2), None],
        "days": [f"{now - timedelta(days=29 - at):%-d %b}" for at in range(30)],
        "served": [
            ("Succeeded", [120 + at * 7 % 90 for at in range(30)], "ok"),
            ("Failed", [at * 5 % 17 for at in range(30)], "bad"),
        ],
        "used": [
            ("web-1", [None if 9 < at < 13 else 30 + at * 13 % 45 for at in range(30)]),
            ("db", [55 + at * 3 % 20 for at in range(30)]),
        ],
        "nothing": [("None", [0] * 30)],
        "trend": [at * at % 23 for at in range(24)],
    }
    return render(request, "dashboard/styleguide.html", context)
