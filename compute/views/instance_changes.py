"""What can be changed of an instance: name, tags and protection, its type, its image."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views import View

from api.renderers import HOURS
from catalog.models import Image
from compute.actions import instances
from compute.models import Instance
from compute.views.instance_create import Room, TagsField, offers, tag_lines
from core.errors import LambdaError
from dashboard.forms import EditForm, explain, once
from dashboard.pages import find_or_404, show_form


class ChangeForm(EditForm):
    edited = ("name", "tags", "protected")

    name = forms.CharField(max_length=100)
    tags = TagsField()
    protected = forms.BooleanField(
        required=False,
        label="Protect from deletion",
        help_text="Deleting and rebuilding it are refused until this is off.",
    )

    def __init__(self, *args: Any, row: Instance, **kwargs: Any):
        super().__init__(*args, row=row, **kwargs)
        self.initial = {**self.initial, "name": row.name, "tags": tag_lines(row.tags), "protected": row.protected}


class Change(LoginRequiredMixin, View):
    scopes = {"GET": "instances:update"}
    template = "compute/instances/change.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(_mine(request), id)
        return show_form(request, self.template, ChangeForm(row=row), instance=row)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(_mine(request), id)
        form = ChangeForm(request.POST, row=row)
        if form.is_valid():
            tags = dict.fromkeys(row.tags) | form.cleaned_data.pop("tags")  # a line that is gone removes the tag
            try:
                row = instances.update(instance=row, by=request.by, tags=tags, **form.cleaned_data)
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"“{row.name}” is changed.")
                return redirect("compute:instance", id=id)
        return show_form(request, self.template, form, instance=row)


class Resize(LoginRequiredMixin, View):
    scopes = {"GET": "instances:update"}
    template = "compute/instances/resize.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return self._page(request, find_or_404(_mine(request), id), None)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(_mine(request), id)
        form = self._form(row, request)
        if form.is_valid():
            try:
                instances.resize(instance=row, by=request.by, restart=True, **form.cleaned_data)
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"“{row.name}” becomes {form.cleaned_data['instance_type']}.")
                return redirect("compute:instance", id=id)
        return self._page(request, row, form)

    def _form(self, row: Instance, request: HttpRequest) -> forms.Form:
        return ResizeForm(request.POST if request.method == "POST" else None, row=row, room=Room.of(request.account))

    def _page(self, request: HttpRequest, row: Instance, form: "forms.Form | None") -> HttpResponse:
        return show_form(request, self.template, form or self._form(row, request), instance=row)


class ResizeForm(forms.Form):
    instance_type = forms.ChoiceField(label="New type", widget=forms.RadioSelect)

    def __init__(self, *args: Any, row: Instance, room: Room, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.row = row
        self.options = []
        for offer in offers(room, instead_of=row.vcpus):
            small = offer.sold.disk_gb < row.disk_gb
            problem = f"Its disk is smaller than the {row.disk_gb} GB there are" if small else offer.problem
            self.options.append((offer, problem, self._difference(offer.hourly)))
        self.fields["instance_type"].choices = [(offer.sold.slug, offer.sold.name) for offer, *_ in self.options]
        self.initial["instance_type"] = row.instance_type

    def _difference(self, hourly: Decimal) -> Decimal:
        """USD a month more, or less, than now."""
        return (hourly - self.row.hourly_price) * HOURS

    def clean_instance_type(self) -> str:
        chosen: str = self.cleaned_data["instance_type"]
        if chosen == self.row.instance_type:
            raise ValidationError(f"It is {chosen} already: choose another type")
        return chosen


class RebuildForm(forms.Form):
    image = forms.ChoiceField(widget=forms.RadioSelect)
    confirm = forms.CharField()

    def __init__(self, *args: Any, row: Instance, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.row = row
        self.fields["image"].choices = [(sold.slug, sold.name) for sold in Image.objects.offered()]
        self.initial["image"] = row.image

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed.strip() != self.row.name:
            raise ValidationError(f"Type the name exactly: {self.row.name}")
        return typed


class Rebuild(LoginRequiredMixin, View):
    """Rebuilding erases the disk, so it takes typing the instance's name."""

    scopes = {"GET": "instances:update"}
    template = "compute/instances/rebuild.html"

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(_mine(request), id)
        return show_form(request, self.template, RebuildForm(row=row), instance=row)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(_mine(request), id)
        form = RebuildForm(request.POST, row=row)
        if form.is_valid():
            try:
                instances.rebuild(instance=row, by=request.by, image=form.cleaned_data["image"])
            except LambdaError as refused:
                explain(form, refused)
            else:
                messages.success(request, f"“{row.name}” is being rebuilt.")
                return redirect("compute:instance", id=id)
        return show_form(request, self.template, form, instance=row)


def _mine(request: HttpRequest) -> "QuerySet[Instance]":
    return Instance.objects.for_account(request.account).select_related("account__plan")
