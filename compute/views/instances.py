"""Instances in the dashboard: list, create, detail, power, delete."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from catalog.models import Image, InstanceType, Price, Region
from compute.actions import instances
from compute.drivers import open_driver
from compute.drivers.base import DriverError
from compute.models import Instance, SshKey
from core.errors import LambdaError
from core.models import Event
from dashboard.calls import Call
from dashboard.forms import explain, once
from dashboard.pages import find_or_404, show_form

PAGE = 50
HTMX_STOP_POLLING = 286
CONSOLE_LINES = 200


class InstanceForm(forms.Form):
    name = forms.CharField(max_length=100, initial="my-instance")
    instance_type = forms.ChoiceField(label="Type", widget=forms.RadioSelect)
    region = forms.ChoiceField()
    image = forms.ChoiceField(widget=forms.RadioSelect)
    ssh_keys = forms.MultipleChoiceField(label="SSH keys", required=False, widget=forms.CheckboxSelectMultiple)
    user_data = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "#!/bin/sh"}),
        help_text="A script that runs once, at the first boot.",
    )
    protected = forms.BooleanField(required=False, label="Protect from deletion")

    def __init__(self, *args, account, **kwargs):
        super().__init__(*args, **kwargs)
        prices = Price.objects.current()
        self.types = list(InstanceType.objects.on_sale())
        for sold in self.types:
            sold.hourly_price = prices.get(sold.sku)
        regions, images = Region.objects.on_sale(), Image.objects.on_sale()
        self.fields["instance_type"].choices = [(sold.slug, sold.name) for sold in self.types]
        self.fields["region"].choices = [(sold.slug, f"{sold.name} · {sold.slug}") for sold in regions]
        self.fields["image"].choices = [(sold.slug, sold.name) for sold in images]
        keys = [(key.public_id, key.name) for key in SshKey.objects.for_account(account)]
        self.fields["ssh_keys"].choices = keys
        for name, first in (("instance_type", "compute-1x"), ("region", "us-west-1"), ("image", "ubuntu-22.04")):
            self.fields[name].initial = first
        self.fields["ssh_keys"].initial = [value for value, _ in keys]

    @property
    def as_call(self) -> dict[str, Any]:
        """What the form says now, as the API takes it: what is empty is left out."""
        said = {name: self[name].value() for name in self.fields}
        return {name: value for name, value in said.items() if value}


class List(LoginRequiredMixin, View):
    scopes = {"GET": "instances:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = list(Instance.objects.for_account(request.account)[:PAGE])
        settled = all(row.state in ("running", "stopped", "error") for row in rows)
        context = {"instances": rows, "settled": settled}
        if request.htmx:
            status = HTMX_STOP_POLLING if settled else 200
            return render(request, "compute/instances/_table.html", context, status=status)
        context["calls"] = [Call("What this page shows", "GET", f"/v1/instances?limit={PAGE}")]
        return render(request, "compute/instances/list.html", context)


class Create(LoginRequiredMixin, View):
    scopes = {"GET": "instances:create"}
    template = "compute/instances/create.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, self.template, InstanceForm(account=request.account))

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = InstanceForm(request.POST, account=request.account)
        if form.is_valid():
            try:
                row = instances.create(account=request.account, by=request.by, **form.cleaned_data)
            except LambdaError as refused:
                explain(form, refused)
            else:
                return redirect("compute:instance", id=row.public_id)
        return show_form(request, self.template, form)


class Detail(LoginRequiredMixin, View):
    scopes = {"GET": "instances:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(Instance.objects.for_account(request.account), id)
        settled = row.state in ("running", "stopped", "error") and (row.ready or row.state != "running")
        log = Event.objects.for_account(request.account).filter(subject_id=row.pk)[:20]
        context = {"instance": row, "settled": settled, "events": log, "base_url": settings.LAMBDA_BASE_URL}
        if request.htmx:
            status = HTMX_STOP_POLLING if settled else 200
            return render(request, "compute/instances/_status.html", context, status=status)
        return render(
            request, "compute/instances/detail.html", context | {"console": _console(row), "calls": _calls(row)}
        )


class Power(LoginRequiredMixin, View):
    scopes = {"POST": "instances:power", "GET": "instances:power"}
    verbs = {"start": instances.start, "stop": instances.stop, "restart": instances.restart}

    def post(self, request: HttpRequest, id: str, action: str) -> HttpResponse:
        verb = self.verbs.get(action)
        if verb is None:
            raise Http404
        row = find_or_404(Instance.objects.for_account(request.account).select_related("account__plan"), id)
        try:
            verb(instance=row, by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
        return redirect("compute:instance", id=id)


class Delete(LoginRequiredMixin, View):
    """Deleting takes typing the instance's name."""

    scopes = {"GET": "instances:delete"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(Instance.objects.for_account(request.account), id)
        return render(request, "compute/instances/delete.html", {"instance": row})

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(Instance.objects.for_account(request.account).select_related("account__plan"), id)
        if request.POST.get("confirm", "").strip() != row.name:
            context = {"instance": row, "error": f"Type the name exactly: {row.name}"}
            return render(request, "compute/instances/delete.html", context, status=422)
        try:
            instances.delete(instance=row, by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
            return redirect("compute:instance", id=id)
        messages.success(request, f"“{row.name}” is being deleted.")
        return redirect("compute:instances")


def _calls(row: Instance) -> list[Call]:
    path = f"/v1/instances/{row.public_id}"
    return [
        Call("Start", "POST", f"{path}/start"),
        Call("Stop", "POST", f"{path}/stop"),
        Call("Restart", "POST", f"{path}/restart"),
        Call("Delete", "DELETE", path),
        Call("What this page shows", "GET", path),
        Call("Console", "GET", f"{path}/console-log?tail={CONSOLE_LINES}"),
    ]


def _console(row: Instance) -> str:
    try:
        text = open_driver(settings.LAMBDA_DRIVER, settings.LAMBDA_NODE_HOME).console(row.public_id)
    except DriverError:
        return ""
    return "\n".join(text.decode(errors="replace").splitlines()[-CONSOLE_LINES:])
