"""The part of a form in which people choose scopes, for API keys, tokens and OAuth apps alike, and what that means.

A preset, or noun by noun None, Read or Write; nouns with finer actions can have those ticked one by one.
"""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.scopes import ACTIONS, PRESETS, SENTENCES, expand, spoken, summary

LEVELS = [("none", "None"), ("read", "Read"), ("write", "Write"), ("custom", "Some")]
# What people should look at twice before they hand it out.
GRAVE = {
    "members:write": "It can invite people and make them admins.",
    "api_keys:write": "It can make further keys, which outlive it.",
    "billing:write": "It can change the plan, and with it what you pay.",
}


@dataclass(frozen=True)
class Row:
    """One noun of the grid: the levels that the maker may give, and its finer actions where it has any."""

    name: str
    field: forms.BoundField
    levels: list[tuple[str, str]]
    boxes: list[tuple[str, str, bool]]  # scope, action, ticked

    @property
    def level(self) -> str:
        return str(self.field.value() or "none")


class PermissionsForm(forms.Form):
    """A name, a preset, and under "Choose below" the grid, as `accounts/_permissions.html` lays it out."""

    name = forms.CharField(max_length=100, label="Name", help_text="Where it is used, e.g. “CI deploys”.")
    preset = forms.ChoiceField(
        label="Permissions",
        choices=[*((slug, label) for slug, label, _ in PRESETS), ("custom", "Choose below")],
        initial="full",
    )
    scopes = forms.MultipleChoiceField(label="Chosen permissions", required=False, choices=[])

    def __init__(self, *args, grantable: frozenset[str], **kwargs):
        super().__init__(*args, **kwargs)
        self.grantable = grantable
        self.fields["scopes"].choices = [(scope, scope) for scope in expand(["*"]) if scope in grantable]
        for noun in ACTIONS:
            self.fields[f"level_{noun}"] = forms.ChoiceField(choices=LEVELS, required=False, initial="none")

    @property
    def grid(self) -> list[Row]:
        """Noun by noun, as far as the maker may grant anything of it."""
        ticked, rows = set(self["scopes"].value() or []), []
        for noun, actions in ACTIONS.items():
            held = [action for action in actions if f"{noun}:{action}" in self.grantable]
            if not held:
                continue
            levels = ["none", "read" if "read" in held else "", "write" if held != ["read"] else ""]
            levels += ["custom"] if len(held) > 2 else []
            boxes = [(f"{noun}:{action}", action, f"{noun}:{action}" in ticked) for action in held]
            labels = [(level, label) for level, label in LEVELS if level in levels]
            rows.append(Row(spoken(noun), self[f"level_{noun}"], labels, boxes if len(held) > 2 else []))
        return rows

    @property
    def presets(self) -> list[tuple[str, str, str]]:
        """(slug, label, what it is in short) of each, with only what the maker may grant."""
        described = [(slug, label, summary(self._preset(slug))) for slug, label, _ in PRESETS]
        return [*described, ("custom", "Choose below", "None, read or write for each kind of thing")]

    def granted(self) -> list[str]:
        """The scopes asked for; of a preset, those that the maker has."""
        if self.cleaned_data["preset"] == "custom":
            return [scope for scope in expand(["*"]) if self._asks_for(scope)]
        return self._preset(self.cleaned_data["preset"])

    def _preset(self, chosen: str) -> list[str]:
        patterns = next(patterns for slug, _, patterns in PRESETS if slug == chosen)
        return [scope for scope in expand(patterns) if scope in self.grantable]

    def _asks_for(self, scope: str) -> bool:
        noun, _, action = scope.partition(":")
        level = self.cleaned_data.get(f"level_{noun}") or "custom"  # a script may post scopes alone
        if level == "custom":
            return scope in self.cleaned_data.get("scopes", [])
        return scope in self.grantable and (level == "write" or level == action == "read")

    def in_words(self) -> dict[str, Any]:
        """What `accounts/_summary.html` says of the choice as it stands, also of one that is not finished."""
        if not self.is_bound:
            return words(self._preset(self["preset"].value()))
        self.is_valid()
        return words(self.granted() if "preset" in self.cleaned_data else [])


class Summary(LoginRequiredMixin, View):
    """What the choice would allow, in words, while it is made. Without a script the form's own Review button asks."""

    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        form = PermissionsForm(request.GET, grantable=request.membership.scopes)
        return render(request, "accounts/_summary.html", form.in_words())


def words(scopes: list[str]) -> dict[str, Any]:
    """`short`, `may` (noun, sentences), `may_not` (nouns of which it gets nothing), and `grave` warnings."""
    nouns = {scope.partition(":")[0] for scope in scopes}
    return {
        "short": summary(scopes),
        "may": in_words(scopes),
        "may_not": [spoken(noun) for noun in ACTIONS if noun not in nouns],
        "grave": [warning for scope, warning in GRAVE.items() if scope in scopes],
    }


def in_words(scopes: list[str]) -> list[tuple[str, list[str]]]:
    """Noun by noun, what the scopes allow, each as a sentence that goes on after "It may"."""
    found: dict[str, list[str]] = {}
    for scope in scopes:
        found.setdefault(spoken(scope.partition(":")[0]), []).append(SENTENCES[scope])
    return list(found.items())
