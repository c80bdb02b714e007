"""A function's first page: its code with an editor, deploying it, and a test of what is live.

Deploying is a form and a redirect. A test's answer is shown in place, or without a script on the same page again.
"""

from typing import Any

import orjson
from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from core.errors import LambdaError
from dashboard.calls import Call
from dashboard.forms import EditForm, once
from dashboard.pages import show_live
from functions import archive, calls
from functions.actions import functions
from functions.models import Code, Function, FunctionVersion
from functions.views.create import SAMPLES, ZIP, ask_again, explain_code
from functions.views.fields import EDITOR, SourceField
from functions.views.functions import EVENT, MOVING, find, path_of

READABLE = 1024 * 1024  # bytes of a zip that is looked into for a page
SHOWN_RESULT = 64 * 1024  # characters
template = "functions/functions/detail.html"


class CodeForm(EditForm):
    edited = ("newest",)  # who deploys makes a version; what becomes of it is no other editor

    source = SourceField(rows=18, label="Code")
    zip = forms.FileField(required=False, label="A zip instead", widget=ZIP, help_text="At most 50 MB.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        given = cleaned.get("zip")
        if given and given.size > archive.MAX_ARCHIVE:
            raise ValidationError({"zip": "A zip may have 50 MB at most"})
        if not given and not cleaned.get("source"):
            raise ValidationError({"source" if "source" in self.data else "zip": "There is no code to deploy"})
        return cleaned

    def code(self, function: Function) -> bytes:
        """The zip to deploy."""
        given = self.cleaned_data
        if given["zip"]:
            content: bytes = given["zip"].read()
            return content
        return archive.inline(given["source"], function.runtime, function.handler)


class EventForm(forms.Form):
    event = forms.CharField(
        strip=False,
        required=False,
        label="Event",
        widget=forms.Textarea(attrs=EDITOR | {"rows": 7}),
        help_text="JSON, as the handler gets it.",
        initial=orjson.dumps(EVENT, option=orjson.OPT_INDENT_2).decode(),
    )

    def clean_event(self) -> bytes:
        text: bytes = self.cleaned_data["event"].encode() or b"{}"
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as broken:
            raise ValidationError(f"No JSON: {broken.msg}, line {broken.lineno}, column {broken.colno}") from None
        return text


class Detail(LoginRequiredMixin, View):
    """GET shows it; POST deploys."""

    scopes = {"GET": "functions:read", "POST": "functions:deploy"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        context = shown(function, request.GET.get("version", ""))
        if request.htmx:
            return show_live(request, "functions/functions/_live.html", context, context["moving"])
        initial = {"source": context["inside"].text or SAMPLES[archive.family(function.runtime)]}
        context |= {"form": CodeForm(row=function, initial=initial), "test": EventForm()}
        return render(request, template, context)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        form = CodeForm(request.POST, request.FILES, row=function)
        if form.is_valid():
            try:
                functions.deploy(function=function, by=request.by, code=form.code(function))
            except LambdaError as refused:
                explain_code(form, refused)
            else:
                return redirect("functions:function", id=id)
        ask_again(form, request)
        return render(request, template, shown(function, "") | {"form": form, "test": EventForm()}, status=422)


class Test(LoginRequiredMixin, View):
    """Run what is live with an event, and show what came of it."""

    scopes = {"GET": "functions:invoke"}

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        function, form = find(request, id), EventForm(request.POST)
        context: dict[str, Any] = {"function": function, "test": form}
        if form.is_valid():
            context |= tried(request, function, form.cleaned_data["event"])
        if request.htmx:
            return render(request, "functions/functions/_test.html", context)
        whole = shown(function, "")
        initial = {"source": whole["inside"].text}
        context = whole | context | {"form": CodeForm(row=function, initial=initial)}
        return render(request, template, context, status=422 if form.errors else 200)


def tried(request: HttpRequest, function: Function, event: bytes) -> dict[str, Any]:
    """The outcome, or why it did not run."""
    try:
        target = calls.target(request.account.pk, function.number)
        calls.refuse_what_cannot_run(target, timezone.now())
        outcome = calls.run_for_a_person(target, event)
    except LambdaError as refused:
        return {"refused": refused}
    return {"outcome": outcome, "version": target.version, "result": _readable(outcome.result)}


def _readable(result: bytes | None) -> str:
    """JSON as people read it; the beginning of what is very long."""
    if result is None:
        return ""
    text = orjson.dumps(orjson.loads(result), option=orjson.OPT_INDENT_2).decode()
    left = len(text) - SHOWN_RESULT
    return f"{text[:SHOWN_RESULT]}\n… {left:,} characters more" if left > 0 else text


def shown(function: Function, wanted: str) -> dict[str, Any]:
    """What the page says of a function's code: of the version `wanted`, or of the one to go on from."""
    versions = {row.number: row for row in FunctionVersion.objects.of(function).defer("sealed_secrets", "log", "env")}
    newest, live = versions.get(function.newest), versions.get(function.live or 0)
    # What failed is to be mended, and what is being built is what was typed last; else what is live.
    usual = live if newest and live and newest.state == "ready" else newest
    version = versions.get(int(wanted)) if wanted.isdecimal() and len(wanted) < 10 else None
    version = version or usual
    return {
        "function": function,
        "newest": newest,
        "live": live,
        "version_shown": version,
        "inside": _inside(version),
        "moving": function.state in MOVING or bool(newest and newest.state == "building"),
        "event": EVENT,
        "calls": _calls(function),
    }


def _inside(version: FunctionVersion | None) -> archive.Inside:
    if version is None or version.code_size > READABLE:
        return archive.Inside([], None)
    content = Code.objects.filter(pk=version.code_id).values_list("archive", flat=True).get()
    return archive.look(bytes(content))


def _calls(function: Function) -> list[Call]:
    path = path_of(function)
    return [
        Call("Invoke it", "POST", f"{path}/invoke", EVENT),
        Call("Invoke it later, with retries", "POST", f"{path}/invoke?mode=async", EVENT),
        Call("What this page shows", "GET", path),
        Call("Its versions", "GET", f"{path}/versions"),
        Call("What it ran", "GET", f"{path}/executions"),
        Call("What it printed", "GET", f"{path}/logs?tail=100"),
        Call("Delete it", "DELETE", path),
    ]
