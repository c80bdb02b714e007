"""What a function ran: the list, one execution with its log and error, and the dead letters."""

from typing import Any
from urllib.parse import urlencode
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
from django_htmx.http import HTMX_STOP_POLLING

from core import ids
from core.errors import LambdaError
from dashboard.calls import Call
from functions import calls
from functions.actions import executions
from functions.models import Execution, Function
from functions.models.execution import FINAL, STATES
from functions.views.functions import find, path_of

PAGE = 50
INGESTED = 10  # seconds after which every execution has its row
SHOWN = 64 * 1024  # characters of what was sent or answered


class Filters(forms.Form):
    """The names are those of the API's filters, so that one query string serves both."""

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
        sound = form.is_valid()
        rows = _listed(Execution.objects.of(function))
        chosen = form.select(rows) if sound else rows.none()
        before = request.GET.get("before", "")
        if before:
            chosen = chosen.filter(pk__lt=_key(before))
        found = list(chosen[: PAGE + 1])
        kept = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
        path = path_of(function)
        context = {
            "function": function,
            "executions": found[:PAGE],
            "form": form,
            "narrowed": bool(kept),
            "older": f"?{urlencode(kept | {'before': found[PAGE - 1].public_id})}" if len(found) > PAGE else "",
            "newest": f"?{urlencode(kept)}" if before else "",
            "dead": Execution.objects.dead(function).order_by().values("pk")[:1000].count(),
            "calls": [
                Call("What this page shows", "GET", f"{path}/executions?{urlencode({**kept, 'limit': PAGE})}"),
                Call("What it printed", "GET", f"{path}/logs?tail=100"),
            ],
        }
        return render(request, "functions/executions/list.html", context, status=200 if sound else 422)


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
            status = 200 if moving else HTMX_STOP_POLLING
            return render(request, "functions/executions/_live.html", context, status=status)
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
