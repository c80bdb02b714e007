"""What forms of every app do alike: tell a verb's refusal beside its field, be sent once, notice another editor."""

import json
import re
import time
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any, ClassVar
from zlib import crc32

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timesince import timesince

from core.errors import Invalid, LambdaError
from core.models import Event, Row
from dashboard.models import SHOWN, SentForm

TOKEN = re.compile(r"\w{22}")  # as `{% once %}` makes it
PATIENCE = 10  # seconds that a second click waits for the first


def explain(form: forms.BaseForm, refused: LambdaError) -> None:
    """Put a verb's complaints beside the fields they are about, and what is about none above them all."""
    errors = refused.errors if isinstance(refused, Invalid) else []
    for error in errors:
        field = error.field.partition(".")[0]  # env.LEVEL is one line of env
        form.add_error(field if field in form.fields else None, error.message)
    if not errors:
        form.add_error(None, " ".join(filter(None, [refused.message, refused.suggestion])))


def once(post: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorates a view's `post` whose form has `{% once %}`: sent twice, it is carried out once.

    The second click waits for the first and is led to where that went. A form that was refused (422) can be mended and
    sent again. After a crash nobody can tell whether it was carried out, so the reader is asked to look.
    """

    @wraps(post)
    def sent(view: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not TOKEN.fullmatch(request.POST.get("once", "")):
            return post(view, request, *args, **kwargs)
        # With all that was typed: who goes back, types another name and sends it again means another thing.
        typed = [(name, request.POST.getlist(name)) for name in sorted(request.POST) if name != "csrfmiddlewaretoken"]
        digest = sha256(f"{request.user.pk}\n{request.path}\n{typed}".encode()).hexdigest()
        if not SentForm.claim(digest):
            return _again(request, digest)
        try:
            response = post(view, request, *args, **kwargs)
        except BaseException:
            SentForm.release(digest)
            raise
        if response.status_code >= 400:
            SentForm.release(digest)
        else:
            SentForm.finish(digest, response.headers.get("Location", SHOWN))
        return response

    return sent


def _again(request: HttpRequest, digest: str) -> HttpResponse:
    deadline = time.monotonic() + PATIENCE
    while (known := SentForm.objects.filter(digest=digest).first()) and not known.answer:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if known and known.answer not in ("", SHOWN):
        return redirect(known.answer)
    return render(request, "dashboard/sent.html", {"shown": bool(known and known.answer)}, status=409)


class EditForm(forms.Form):
    """A form over a row that others may change as well: the later of two editors is told, and loses nothing typed.

    `row` is the row as it is now. The form carries the version that its reader saw. Where a row also changes by itself,
    `edited` names the fields that count, so that a machine which comes up meanwhile is no other editor.
    """

    edited: ClassVar[tuple[str, ...]] = ()
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, row: Row, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.row = row
        self.initial["version"] = self._now()

    def _now(self) -> int:
        if not self.edited:
            return self.row.version
        values = {name: getattr(self.row, name) for name in self.edited}
        return crc32(json.dumps(values, sort_keys=True).encode())

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or self.cleaned_data)
        now = self._now()
        if cleaned.pop("version", None) not in (None, now):
            data: Any = self.data.copy()
            data[self.add_prefix("version")] = str(now)
            self.data = data
            raise ValidationError(f"{self._who()} What you typed is still here: save again to keep it.")
        return cleaned

    def _who(self) -> str:
        told = Event.objects.filter(subject_id=self.row.pk)
        event = told.exclude(actor_kind="system").first()  # what a worker made of somebody's change is no other editor
        if event is None:
            return "This was changed meanwhile."
        name = event.actor_name or "Lambda"
        return f"{name} changed this {timesince(event.at, depth=1)} ago, while you had it open."
