"""The part of a form in which people choose scopes: for API keys, tokens and OAuth apps alike. No views."""

from django import forms

from accounts.scopes import ACTIONS, PRESETS, SENTENCES, expand


class PermissionsForm(forms.Form):
    """A name, a preset, and under "Choose below" the scopes one by one, as `accounts/_permissions.html` lays it out."""

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

    @property
    def grid(self) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """Noun by noun: (scope, action, chosen) for the check boxes."""
        chosen = set(self["scopes"].value() or [])
        rows = []
        for noun, actions in ACTIONS.items():
            boxes = [(f"{noun}:{action}", action, f"{noun}:{action}" in chosen) for action in actions]
            rows.append((noun.replace("_", " "), [box for box in boxes if box[0] in self.grantable]))
        return [row for row in rows if row[1]]

    def granted(self) -> list[str]:
        """The scopes asked for; of a preset, those that the maker has."""
        if self.cleaned_data["preset"] == "custom":
            return self.cleaned_data["scopes"]
        patterns = next(patterns for slug, _, patterns in PRESETS if slug == self.cleaned_data["preset"])
        return [scope for scope in expand(patterns) if scope in self.grantable]


def in_words(scopes: list[str]) -> list[tuple[str, list[str]]]:
    """Noun by noun, what the scopes allow, each as a sentence that goes on after "It may"."""
    found: dict[str, list[str]] = {}
    for scope in scopes:
        found.setdefault(scope.partition(":")[0].replace("_", " "), []).append(SENTENCES[scope])
    return list(found.items())
