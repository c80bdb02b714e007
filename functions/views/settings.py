"""What can be changed of a function beside its code, how it is deprecated, and how it is deleted."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views import View

from core.errors import LambdaError
from dashboard.calls import Call
from dashboard.forms import EditForm, explain, once
from dashboard.pages import Question, show_form
from functions.actions import functions
from functions.models import Function, Runner
from functions.views.fields import LimitsForm, TagsField, VariablesField, forget_secrets, tag_line, variable_lines
from functions.views.functions import find, path_of


class SettingsForm(LimitsForm, EditForm):
    edited = (
        "name", "runtime", "handler", "memory_mb", "timeout_s", "max_concurrency", "tags", "env", "sealed_secrets",
    )  # fmt: skip

    name = forms.CharField(max_length=64)
    runtime = forms.ChoiceField()
    handler = forms.CharField(max_length=128, help_text="File and function: handler in app is app.handler.")
    tags = TagsField()
    env = VariablesField(label="Environment", help_text="One NAME=value a line. A line that is gone is removed.")
    secrets = VariablesField(label="New secrets", help_text="Replaces one of the same name. Never shown again.")
    removed = forms.MultipleChoiceField(
        required=False, label="Remove these secrets", widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, row: Function, **kwargs: Any):
        super().__init__(*args, row=row, **kwargs)
        runtimes = {one["name"]: one["label"] for one in Runner.known_runtimes()}
        self.fields["runtime"].choices = list(({row.runtime: row.runtime} | runtimes).items())
        self.fields["removed"].choices = [(name, name) for name in row.secret_names]
        now = {
            "name": row.name,
            "runtime": row.runtime,
            "handler": row.handler,
            "memory": row.memory_mb,
            "timeout": row.timeout_s,
            "max_concurrency": row.max_concurrency,
            "tags": tag_line(row.tags),
            "env": variable_lines(row.env),
        }
        self.initial.update(now)

    def changes(self, row: Function) -> dict[str, Any]:
        """What `functions.update` takes: variables that are no longer there are removed."""
        fields = dict(self.cleaned_data)
        gone = fields.pop("removed")
        return fields | {
            "env": dict.fromkeys(row.env) | fields["env"],
            "secrets": dict.fromkeys(gone) | fields["secrets"],
        }


class Settings(LoginRequiredMixin, View):
    scopes = {"GET": "functions:write"}
    template = "functions/functions/settings.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        return self._page(request, row, SettingsForm(row=row))

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        form = SettingsForm(request.POST, row=row)
        if form.is_valid():
            try:
                row = functions.update(function=row, by=request.by, **form.changes(row))
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"“{row.name}” is changed.")
                return redirect("functions:function", id=id)
        forget_secrets(form)
        return self._page(request, row, form)

    def _page(self, request: HttpRequest, row: Function, form: SettingsForm) -> HttpResponse:
        path = path_of(row)
        body = {"memory": row.memory_mb, "timeout": row.timeout_s, "env": row.env or {"LEVEL": "debug"}}
        made = [
            Call("Change it", "PATCH", path, body),
            Call("Deprecate it", "POST", f"{path}/deprecate", {"message": "Use another"}),
            Call("Delete it", "DELETE", path),
        ]
        return show_form(request, self.template, form, function=row, calls=made)


class DeprecateForm(forms.Form):
    message = forms.CharField(
        max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="Why, and what now."
    )
    replacement = forms.CharField(max_length=64, required=False, help_text="The function to call instead.")
    sunset_at = forms.DateTimeField(
        required=False,
        label="Sunset",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="UTC. From then on calls are refused.",
    )


class Deprecate(LoginRequiredMixin, View):
    scopes = {"GET": "functions:write"}
    template = "functions/functions/deprecate.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        initial = {"message": row.deprecation, "replacement": row.replacement, "sunset_at": row.sunset_at}
        return show_form(request, self.template, DeprecateForm(initial=initial), function=row)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row, form = find(request, id), DeprecateForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            try:
                functions.deprecate(function=row, by=request.by, **given)
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"“{row.name}” is deprecated: its answers say so from now on.")
                return redirect("functions:function", id=id)
        return show_form(request, self.template, form, function=row)


class Delete(Question):
    scopes = {"GET": "functions:write"}
    template, called, typed = "functions/functions/delete.html", "function", "name"
    after, back = "functions:functions", "functions:function"

    def find(self, request: HttpRequest, id: str) -> Function:
        return find(request, id)

    def act(self, request: HttpRequest, row: Function) -> str:
        functions.delete(function=row, by=request.by)
        return f"“{row.name}” is being deleted."
