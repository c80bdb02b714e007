"""Functions in the dashboard: the list with its filters, and what every page of one function has.

Its pages: `code.py`, `metrics.py`, `executions.py`, `versions.py`, `settings.py`; making one is in `create.py`.
"""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View
from django_htmx.http import HTMX_STOP_POLLING

from api.filters import COUNTED, HasWord
from core.models import Counter
from dashboard.calls import Call
from dashboard.pages import find_or_404
from functions.models import Function, Runner
from functions.models.function import STATES
from functions.views.metrics import add_sparks

PAGE = 50
MOVING = ("building", "deleting")
UNSHOWN = ("env", "sealed_secrets", "secret_names")
EVENT = {"name": "Ada"}  # what samples and tests send


class Filters(forms.Form):
    """The names are those of the API's filters, so that one query string serves both."""

    q = forms.CharField(required=False, max_length=64, label="Name", widget=forms.TextInput(attrs={"type": "search"}))
    status = forms.ChoiceField(required=False, label="State")
    runtime = forms.ChoiceField(required=False, label="Runtime")
    tag = forms.CharField(required=False, max_length=64, label="Tag")

    def __init__(self, *args: Any, runtimes: list[str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        labels = {one["name"]: one["label"] for one in Runner.known_runtimes()}
        known = sorted({*runtimes, *labels})
        self.fields["status"].choices = [("", "Any"), *((state, state.capitalize()) for state in STATES[:-1])]
        self.fields["runtime"].choices = [("", "All"), *((name, labels.get(name, name)) for name in known)]
        self.fields["q"].widget.attrs["placeholder"] = "contains…"

    def select(self, rows: "QuerySet[Function]") -> "QuerySet[Function]":
        given = self.cleaned_data
        if given["q"]:
            rows = rows.filter(name__icontains=given["q"])
        if given["status"]:
            rows = rows.filter(state=given["status"])
        if given["runtime"]:
            rows = rows.filter(runtime=given["runtime"])
        if given["tag"]:
            rows = rows.filter(HasWord("tags", given["tag"]))
        return rows


class List(LoginRequiredMixin, View):
    scopes = {"GET": "functions:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = Function.objects.for_account(request.account)
        form = Filters(request.GET, runtimes=list(rows.order_by().values_list("runtime", flat=True).distinct()))
        sound = form.is_valid()
        kept = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
        chosen = form.select(rows) if sound else rows.none()
        asked = request.GET.get("page", "1")
        page = int(asked) if asked.isdecimal() and 0 < int(asked) < 1_000_000 else 1
        found = list(chosen.defer(*UNSHOWN)[(page - 1) * PAGE : page * PAGE + 1])
        shown = found[:PAGE]
        add_sparks(shown)
        moving = any(row.state in MOVING for row in shown)
        context = {"functions": shown, "moving": moving, "poll": _address(kept, page)}
        if request.htmx:
            status = 200 if moving else HTMX_STOP_POLLING
            return render(request, "functions/functions/_table.html", context, status=status)
        counted = chosen.order_by().values("pk")[: COUNTED + 1]
        total = counted.count() if kept else Counter.of(request.account, "function")
        context |= {
            "form": form,
            "narrowed": bool(kept),
            "total": total,
            "capped": total > COUNTED,
            "first": (page - 1) * PAGE + 1,
            "last": (page - 1) * PAGE + len(shown),
            "previous": _address(kept, page - 1) if page > 1 else "",
            "next": _address(kept, page + 1) if len(found) > PAGE else "",
            "calls": [Call("What this page shows", "GET", f"/v1/functions?{urlencode({**kept, 'limit': PAGE})}")],
        }
        return render(request, "functions/functions/list.html", context, status=200 if sound else 422)


def _address(kept: dict[str, str], page: int) -> str:
    return f"?{urlencode(kept | ({'page': str(page)} if page > 1 else {}))}"


def find(request: HttpRequest, id: str) -> Function:
    return find_or_404(Function.objects.for_account(request.account).defer("sealed_secrets"), id)


def path_of(function: Function) -> str:
    return f"/v1/functions/{function.public_id}"
