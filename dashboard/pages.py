"""What views of every app do alike: find a row, show a form or a part that asks for itself, ask a question.

No page lives here.
"""

from typing import Any, TypeVar

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View
from django_htmx.http import HTMX_STOP_POLLING

from core.errors import LambdaError
from core.models import Row

R = TypeVar("R", bound=Row)


def find_or_404(rows: "QuerySet[R]", public_id: str) -> R:
    """The row with that public id among `rows`, which are the account's own: another tenant's id is a 404."""
    try:
        return rows.get(**{rows.model.key_name: rows.model.key(public_id)})
    except (ValueError, rows.model.DoesNotExist):
        raise Http404 from None


def show_form(request: HttpRequest, template: str, form: BaseForm, **context: Any) -> HttpResponse:
    """The page with the form: as it was typed, what is wrong beside the fields, and 422 where something is."""
    return render(request, template, {"form": form, **context}, status=422 if form.errors else 200)


def unkept(page: HttpResponse) -> HttpResponse:
    """The page, which holds a secret: no browser and no proxy keeps it."""
    page["Cache-Control"] = "no-store"
    return page


def show_live(request: HttpRequest, template: str, context: dict[str, Any], moving: bool) -> HttpResponse:
    """The part of a page that asks for itself again and again, until nothing moves: then the status is 286."""
    return render(request, template, context, status=200 if moving else HTMX_STOP_POLLING)


class Question(LoginRequiredMixin, View):
    """Asks whether something shall be done to a row, and does it on yes; then it leads to `after`.

    `template` extends `dashboard/question.html` and gets the row as `called`. With `typed` (“name”) yes takes typing
    the row's name: `dashboard/_confirm.html` is that field. A refusal is told on the row's page, `back`, or `after`.
    """

    template = called = after = back = typed = ""

    def find(self, request: HttpRequest, id: str) -> Any:
        raise NotImplementedError

    def act(self, request: HttpRequest, row: Any) -> str:
        """Do it, and say so. Raises LambdaError."""
        raise NotImplementedError

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return render(request, self.template, {self.called: self.find(request, id)})

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = self.find(request, id)
        if self.typed and request.POST.get("confirm", "").strip() != row.name:
            context = {self.called: row, "error": f"Type the {self.typed} exactly: {row.name}"}
            return render(request, self.template, context, status=422)
        try:
            messages.success(request, self.act(request, row))
        except LambdaError as refused:
            messages.error(request, refused.message)
            if self.back:
                return redirect(self.back, id=id)
        return redirect(self.after)
