"""Fields that forms of functions share: variables as lines, tags as words, and the numbers that limit one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from functions import rules

EDITOR = {"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off", "wrap": "off", "class": "editor"}


class SourceField(forms.CharField):
    """Lines of code, whose ends are those of files: browsers send CRLF."""

    def __init__(self, *, rows: int, **options: Any):
        widget = forms.Textarea(attrs=EDITOR | {"rows": rows})
        super().__init__(required=False, strip=False, max_length=900_000, widget=widget, **options)

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class VariablesField(forms.CharField):
    """Lines of `NAME=value`, as a dict. A value in double quotes is read as JSON, so that it may have lines."""

    def __init__(self, **options: Any):
        widget = forms.Textarea(attrs=EDITOR | {"rows": 4, "placeholder": "NAME=value"})
        super().__init__(required=False, strip=False, widget=widget, **options)

    def clean(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, line in enumerate((super().clean(value) or "").splitlines(), 1):
            name, mark, text = line.partition("=")
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if not mark or not name.strip():
                raise ValidationError(f"Line {number} is no variable: write it as NAME=value")
            found[name.strip()] = _unquoted(text, number)
        return found


def _unquoted(text: str, number: int) -> str:
    if not text.startswith('"'):
        return text
    try:
        value: str = json.loads(text)
    except ValueError:
        raise ValidationError(f"Line {number} begins with a quote and is no JSON text: write it without") from None
    return value


def variable_lines(variables: Mapping[str, str]) -> str:
    """The same as the field shows it."""
    plain = dict(variables)
    for name, value in variables.items():
        if value.startswith('"') or len(value.splitlines()) > 1 or value.endswith(("\n", "\r")):
            plain[name] = json.dumps(value, ensure_ascii=False)
    return "\n".join(f"{name}={value}" for name, value in plain.items())


class TagsField(forms.CharField):
    """Words between commas, as a list."""

    def __init__(self, **options: Any):
        widget = forms.TextInput(attrs={"placeholder": "login, eu", "autocapitalize": "off"})
        super().__init__(required=False, widget=widget, help_text="Words between commas.", **options)

    def clean(self, value: Any) -> list[str]:
        return [word for text in (super().clean(value) or "").split(",") if (word := text.strip())]


def tag_line(tags: Sequence[str]) -> str:
    return ", ".join(tags)


class LimitsForm(forms.Form):
    memory = forms.IntegerField(label="Memory", help_text="MB, from 128 to 10,240.")
    timeout = forms.IntegerField(label="Time-out", help_text="Seconds, from 1 to 900.")
    max_concurrency = forms.IntegerField(label="At once", help_text="Executions at the same time, at most 1,000.")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        limits = {"memory": rules.MEMORY, "timeout": rules.TIMEOUT, "max_concurrency": rules.CONCURRENCY}
        for name, (low, high) in limits.items():
            self.fields[name].widget.attrs |= {"min": low, "max": high}


def forget_secrets(form: forms.Form) -> None:
    """Before a form is shown again: secrets are never sent back, not even to who has just typed them."""
    if form["secrets"].value():
        _ = form.errors  # judged before what was typed is gone
        data: Any = form.data.copy()
        data[form.add_prefix("secrets")] = ""
        form.data = data
        form.add_error("secrets", "Enter the secrets again: they are never sent back.")
