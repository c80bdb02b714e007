"""What a function ran: the list, one execution with its log and error, and the dead letters."""

from typing import Any
from uuid import UUID

import orjson
from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from core import ids
from core.errors import LambdaError
from dashboard import lists
from dashboard.calls import Call
from dashboard.pages import show_form, show_live
from functions import calls
from functions.actions import executions
from functions.models import Execution, Function
from functions.models.execution import FINAL, STATES
from functions.views.functions import find, path_of

PAGE = 50
INGESTED = 10  # seconds after which every execution has its row
SHOWN = 64 * 1024  # characters of what was sent or answered


class Filters(lists.Filters):
    status = forms.ChoiceField(required=False, label="State")
    trigger = forms.ChoiceField(
        required=False, label="Invoked", choices=[("", "Any"), ("sync", "Waiting (sync)"), ("async", "Later (async)")]
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["status"].choices = [("", "Any"), *((state, state.capitalize()) for state in STATES)]

    def select(self, rows: "QuerySet[Execution]") -> "QuerySet[Execution]":
        return rows.filter(**{name: value for name, value in self.cleaned_data.items() if value})


class List(LoginRequiredMixin, View):
    """Newest first, a page at a time from a cursor: there may be millions, so nobody counts them."""

    scopes = {"GET": "functions:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        form = Filters(request.GET)
        part = lists.Cursor(request, _listed(Execution.objects.of(function)), form, PAGE)
        path = path_of(function)
        context = {
            "function": function,
            "executions": part.rows,
            "part": part,
            "dead": Execution.objects.dead(function).order_by().values("pk")[:1000].count(),
            "calls": [
                Call("What this page shows", "GET", f"{path}/executions{lists.address(form.kept, limit=PAGE)}"),
                Call("What it printed", "GET", f"{path}/logs?tail=100"),
            ],
        }
        return show_form(request, "functions/executions/list.html", form, **context)


class Detail(LoginRequiredMixin, View):
    """Asks for itself while it waits or runs, and for the moment until the journal is read."""

    scopes = {"GET": "functions:read"}

    def get(self, request: HttpRequest, id: str, execution: str) -> HttpResponse:
        function, key = find(request, id), _key(execution)
        row = Execution.objects.of(function).defer("key_digest", "key_fingerprint").filter(pk=key).first()
        if row is None and abs(ids.age(key)) >= INGESTED:
            raise Http404
        moving = row is None or row.status not in FINAL
        path = f"{path_of(function)}/executions/{execution}"
        context = {
            "function": function,
            "execution": row,
            "id": execution,
            "moving": moving,
            "log": calls.log_of(row) if row else "",
            "sent": _text(row.event) if row else "",
            "answer": _text(row.answer) if row and row.trigger == "async" else "",
            "calls": [
                Call("What this page shows", "GET", path),
                Call("What it printed", "GET", f"{path_of(function)}/logs?execution={execution}"),
            ],
        }
        if request.htmx:
            return show_live(request, "functions/executions/_live.html", context, moving)
        return render(request, "functions/executions/detail.html", context)


class DeadLetters(LoginRequiredMixin, View):
    """GET lists them; POST tries those again that are chosen, or all."""

    scopes = {"GET": "functions:read", "POST": "functions:invoke"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        found = list(_listed(Execution.objects.dead(function))[: PAGE + 1])
        path = f"{path_of(function)}/dead-letters"
        some = {"execution_ids": [row.public_id for row in found[:2]]} if found else None
        context = {
            "function": function,
            "executions": found[:PAGE],
            "more": len(found) > PAGE,
            "calls": [
                Call("What this page shows", "GET", path),
                Call("Try all of them again", "POST", f"{path}/redrive"),
                Call("Try some of them again", "POST", f"{path}/redrive", some),
            ],
        }
        return render(request, "functions/executions/dead_letters.html", context)

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        only = None if "all" in request.POST else [_key(text) for text in request.POST.getlist("id")]
        if only == []:
            messages.error(request, "Choose the executions to try again, or all of them.")
            return redirect("functions:function_dead_letters", id=id)
        try:
            again = _redrive(request, function, only)
        except LambdaError as refused:
            messages.error(request, " ".join(filter(None, [refused.message, refused.suggestion])))
            return redirect("functions:function_dead_letters", id=id)
        count = len(again)
        messages.success(request, f"{count} execution{'' if count == 1 else 's'} queued again.")
        return redirect("functions:function_executions", id=id)


def _redrive(request: HttpRequest, function: Function, only: list[UUID] | None) -> list[Execution]:
    target = calls.target(request.account.pk, function.number)
    calls.refuse_what_cannot_run(target, timezone.now())
    return executions.redrive(function=function, by=request.by, target=target, only=only)


def _listed(rows: "QuerySet[Execution]") -> "QuerySet[Execution]":
    """Without what no list shows: a log alone may have 256 KB."""
    return rows.defer("event", "answer", "log", "key_digest", "key_fingerprint")


def _key(text: str) -> UUID:
    try:
        return Execution.key(text)
    except ValueError:
        raise Http404 from None


def _text(kept: bytes | memoryview | None) -> str:
    """JSON as people read it; the beginning of what is very long."""
    if kept is None:
        return ""
    return orjson.dumps(orjson.loads(bytes(kept)), option=orjson.OPT_INDENT_2).decode()[:SHOWN]
