"""What views of every app do alike: find a row by the id in the address, show a form, or a part that asks for itself.

No page lives here.
"""

from typing import Any, TypeVar

from django.db.models import QuerySet
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HTMX_STOP_POLLING

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


def show_live(request: HttpRequest, template: str, context: dict[str, Any], moving: bool) -> HttpResponse:
    """The part of a page that asks for itself again and again, until nothing moves: then the status is 286."""
    return render(request, template, context, status=200 if moving else HTMX_STOP_POLLING)
