"""Functions in the dashboard: the list with its filters, and what every page of one function has.

Its pages: `code.py`, `metrics.py`, `executions.py`, `versions.py`, `settings.py`; making one is in `create.py`.
"""

from typing import Any

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.views import View

from api.filters import HasWord
from dashboard import lists
from dashboard.calls import Call
from dashboard.pages import find_or_404, show_form, show_live
from functions.models import Function, Runner
from functions.models.function import STATES
from functions.views.metrics import add_sparks

PAGE = 50
MOVING = ("building", "deleting")
UNSHOWN = ("env", "sealed_secrets", "secret_names")
EVENT = {"name": "Ada"}  # what samples and tests send


class Filters(lists.Filters):
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
        part = lists.Numbered(request, rows.defer(*UNSHOWN), form, PAGE, "function")
        add_sparks(part.rows)
        moving = any(row.state in MOVING for row in part.rows)
        context = {"functions": part.rows, "part": part, "moving": moving}
        if request.htmx:
            return show_live(request, "functions/functions/_table.html", context, moving)
        shown = Call("What this page shows", "GET", f"/v1/functions{lists.address(form.kept, limit=PAGE)}")
        return show_form(request, "functions/functions/list.html", form, calls=[shown], **context)


def find(request: HttpRequest, id: str) -> Function:
    return find_or_404(Function.objects.for_account(request.account).defer("sealed_secrets"), id)


def path_of(function: Function) -> str:
    return f"/v1/functions/{function.public_id}"
