"""Making a webhook and changing where it goes and what it gets. The page that shows a secret, once, is here too."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from core.errors import LambdaError
from core.events import declared, opt_in
from dashboard.forms import EditForm, explain, once
from dashboard.pages import show_form, unkept
from webhooks import signing
from webhooks.actions import endpoints
from webhooks.models import Endpoint
from webhooks.views import verifying
from webhooks.views.webhooks import find

ALL = "*"
EXAMPLE = {"url": "https://your-app.com/webhook", "events": ["instance.*"]}  # of the call
PATIENT = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


@dataclass(frozen=True)
class Group:
    """The event types of one noun: (type, what it says, whether chosen). `apart`: `*` does not mean them."""

    noun: str
    pattern: str
    whole: bool
    types: list[tuple[str, str, bool]]
    apart: bool

    @property
    def chosen(self) -> int:
        return sum(chosen for _, _, chosen in self.types)


class TargetForm(forms.Form):
    """Where to, and what of. Patterns that others contain are left out when it is sent."""

    url = forms.CharField(
        max_length=2000,
        label="URL",
        help_text="Events are sent there by POST, as signed JSON.",
        widget=forms.TextInput(attrs=PATIENT | {"inputmode": "url", "placeholder": "https://your-app.com/webhook"}),
    )
    events = forms.MultipleChoiceField(
        label="Events",
        error_messages={
            "required": "Choose at least one event; “Everything” is all of them.",
            "invalid_choice": "“%(value)s” is no event type.",
        },
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        names = [*declared(), *(f"{noun}.*" for noun in _nouns()), ALL]
        self.fields["events"].choices = [(name, name) for name in names]

    def groups(self) -> list[Group]:
        chosen = self["events"].value() or []
        return [
            Group(
                noun,
                f"{noun}.*",
                f"{noun}.*" in chosen,
                [(type, words, type in chosen) for type, words in types.items()],
                bool(opt_in() & types.keys()),
            )
            for noun, types in _nouns().items()
        ]

    def clean_events(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["events"]
        rare = opt_in()

        def contained(name: str) -> bool:
            noun = name.partition(".")[0]
            return (ALL in chosen and name != ALL and not any(type.startswith(f"{noun}.") for type in rare)) or (
                not name.endswith("*") and f"{noun}.*" in chosen
            )

        return [name for name in chosen if not contained(name)]


class CreateForm(TargetForm):
    secret = forms.CharField(
        required=False,
        strip=False,
        label="Secret",
        help_text="It signs what is sent. Leave it empty and a good one is made; your own has 16 bytes or more.",
        widget=forms.TextInput(attrs=PATIENT | {"class": "mono"}),
    )


class ChangeForm(TargetForm, EditForm):
    edited = ("url", "events")

    def __init__(self, *args: Any, row: Endpoint, **kwargs: Any):
        super().__init__(*args, row=row, **kwargs)
        self.initial.update(url=row.url, events=row.events)


class Create(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:write"}
    template = "webhooks/webhooks/create.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, self.template, CreateForm(), example=EXAMPLE)

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = CreateForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            try:
                made = endpoints.create(
                    account=request.account,
                    by=request.by,
                    url=given["url"],
                    events=given["events"],
                    secret=given["secret"] or None,
                )
            except LambdaError as refused:
                explain(form, refused)
            else:
                return reveal(request, *made)
        return unkept(show_form(request, self.template, form, example=EXAMPLE))  # it holds the secret that was typed


class Change(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:write"}
    template = "webhooks/webhooks/change.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        return show_form(request, self.template, ChangeForm(row=row), webhook=row)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find(request, id)
        form = ChangeForm(request.POST, row=row)
        if form.is_valid():
            try:
                row = endpoints.update(endpoint=row, by=request.by, **form.cleaned_data)
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"The webhook to {row.name} is changed.")
                return redirect("webhooks:webhook", id=id)
        return show_form(request, self.template, form, webhook=row)


def reveal(request: HttpRequest, row: Endpoint, secret: str, *, rotated: bool = False) -> HttpResponse:
    """The only page that ever holds the secret: never cached, never in a URL, a message or the session."""
    standard = signing.standard_form(secret)
    context = {
        "webhook": row,
        "secret": secret,
        "standard": standard if standard != secret else "",
        "rotated": rotated,
        "samples": verifying.samples(request),
    }
    return unkept(render(request, "webhooks/webhooks/created.html", context))


def _nouns() -> dict[str, dict[str, str]]:
    """The documented types and what they say, by noun."""
    found: dict[str, dict[str, str]] = {}
    for type, words in declared().items():
        found.setdefault(type.partition(".")[0], {})[type] = words
    return found
