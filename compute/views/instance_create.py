"""The form that makes an instance, with what the choice costs and whether there is room for it, while it is made."""

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.models import Account
from api.renderers import HOURS
from catalog.models import Image, InstanceType, Price, Region
from compute.actions import instances
from compute.models import Instance, Node, SshKey
from core.errors import LambdaError
from core.models import Counter
from dashboard.forms import explain, once
from dashboard.pages import show_form

ADJECTIVES = "amber bold brave bright calm clever eager fair gentle keen lively lucky mellow noble quick quiet".split()
ANIMALS = "badger crane falcon finch fox heron ibex lark lynx marten otter owl raven seal swift wren".split()


def suggested_name() -> str:
    return f"{secrets.choice(ADJECTIVES)}-{secrets.choice(ANIMALS)}"


class TagsField(forms.CharField):
    """Lines of `key=value` or `key:value`, as a dict."""

    def __init__(self, **options: Any):
        attrs = {"rows": 3, "placeholder": "env=production\nteam=web", "spellcheck": "false"}
        super().__init__(
            required=False, widget=forms.Textarea(attrs=attrs), help_text="One key=value a line.", **options
        )

    def clean(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in filter(None, (line.strip() for line in (super().clean(value) or "").splitlines())):
            at = min((place for mark in "=:" if (place := line.find(mark)) > 0), default=0)
            if not at:
                raise ValidationError(f"“{line}” is no tag: write it as key=value")
            found[line[:at].strip()] = line[at + 1 :].strip()
        return found


def tag_lines(tags: dict[str, str]) -> str:
    """The same as the field shows it."""
    return "\n".join(f"{key}={value}" for key, value in tags.items())


@dataclass(frozen=True)
class Room:
    """What the plan still allows and what the machines can do: nothing here is promised until the verb says so."""

    account: Account
    used: dict[str, int]
    node: Node | None

    @classmethod
    def of(cls, account: Account) -> "Room":
        kinds = Counter.objects.filter(account_id=account.pk, kind__in=("instance", "vcpu"))
        return cls(account, dict(kinds.values_list("kind", "count")), Node.current())

    @property
    def instances(self) -> int:
        return max(self.account.plan.max_instances - self.used.get("instance", 0), 0)

    @property
    def vcpus(self) -> int:
        return max(self.account.plan.max_vcpus - self.used.get("vcpu", 0), 0)

    @property
    def closed(self) -> str:
        """Why nothing can be made now, or nothing."""
        if self.node and not self.node.ok:
            return f"Instances cannot run here: {self.node.reason} {self.node.remedy}".strip()
        if not self.instances:
            return f"All {self.account.plan.max_instances} instances of the plan {self.account.plan.name} are in use."
        return ""

    def problem(self, sold: InstanceType, instead_of: int = 0) -> str:
        """Why that type cannot be had, or nothing. `instead_of`: vCPUs given back for it."""
        more = sold.vcpus - instead_of
        if more > self.vcpus:
            return f"Needs {more} {'more ' if instead_of else ''}vCPUs, your plan has {self.vcpus} left"
        return ""

    def scarce(self, sold: InstanceType) -> bool:
        """Whether it may ask for more memory than is free now where it would run."""
        free = self.node.capacity.get("memory_free_mb") if self.node else None
        return free is not None and free < sold.memory_mb


@dataclass(frozen=True)
class Offer:
    """A type as the form shows it; prices in USD."""

    sold: InstanceType
    hourly: Decimal
    problem: str
    scarce: bool

    @property
    def monthly(self) -> Decimal:
        return self.hourly * HOURS


def offers(room: Room, instead_of: int = 0) -> list[Offer]:
    """Every type on sale with its price and whether it can be had."""
    prices = Price.objects.current()
    return [
        Offer(sold, prices.get(sold.sku, Decimal(0)), room.problem(sold, instead_of), room.scarce(sold))
        for sold in InstanceType.objects.offered()
    ]


class InstanceForm(forms.Form):
    name = forms.CharField(max_length=100, initial=suggested_name)
    instance_type = forms.ChoiceField(label="Type", widget=forms.RadioSelect)
    region = forms.ChoiceField()
    image = forms.ChoiceField(widget=forms.RadioSelect)
    ssh_keys = forms.MultipleChoiceField(label="SSH keys", required=False, widget=forms.CheckboxSelectMultiple)
    public_key = forms.CharField(
        label="Another public key",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "ssh-ed25519 AAAA… you@laptop", "spellcheck": "false"}),
        help_text="The contents of ~/.ssh/id_ed25519.pub. It is added to the account's keys as well.",
    )
    tags = TagsField()
    user_data = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "#!/bin/sh", "spellcheck": "false"}),
        help_text="A script that runs once, at the first boot.",
    )
    start = forms.BooleanField(required=False, initial=True, label="Start it at once")
    protected = forms.BooleanField(required=False, label="Protect from deletion")

    def __init__(self, *args: Any, account: Account, adds_keys: bool, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.room = Room.of(account)
        self.offers = offers(self.room)
        regions, images = Region.objects.offered(), Image.objects.offered()
        self.fields["instance_type"].choices = [(offer.sold.slug, offer.sold.name) for offer in self.offers]
        self.fields["region"].choices = [(sold.slug, f"{sold.name} · {sold.slug}") for sold in regions]
        self.fields["image"].choices = [(sold.slug, sold.name) for sold in images]
        keys = [(key.public_id, key.name) for key in SshKey.objects.all_of(account)]
        self.fields["ssh_keys"].choices = keys
        for name, first in (("instance_type", "compute-1x"), ("region", "us-east-1"), ("image", "ubuntu-22.04")):
            self.fields[name].initial = first
        self.fields["ssh_keys"].initial = [value for value, _ in keys]
        if not adds_keys:
            del self.fields["public_key"]

    def clean_public_key(self) -> str:
        text: str = self.cleaned_data["public_key"]
        if "PRIVATE KEY" in text:  # pasted by mistake: not sent back as well
            self.data: Any = self.data.copy()
            self.data["public_key"] = ""
            raise ValidationError("This is a private key. Never send it anywhere: paste the .pub file beside it")
        return text

    @property
    def chosen(self) -> Offer | None:
        """The offer of the type that is chosen now."""
        return next((offer for offer in self.offers if offer.sold.slug == self["instance_type"].value()), None)

    @property
    def as_call(self) -> dict[str, Any]:
        """What the form says now, as the API takes it: what is empty, or so by default, is left out."""
        names = ["name", "instance_type", "region", "image", "ssh_keys", "user_data", "protected"]
        said = {name: self[name].value() for name in names}
        said["protected"] = said["protected"] in (True, "on", "true")
        try:
            said["tags"] = self.fields["tags"].clean(self["tags"].value())
        except ValidationError:
            said["tags"] = None
        body = {name: value for name, value in said.items() if value}
        return body if self["start"].value() in (True, "on", "true") else body | {"start": False}


class Create(LoginRequiredMixin, View):
    scopes = {"GET": "instances:create"}
    template = "compute/instances/create.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, self.template, _form(request))

    def post(self, request: HttpRequest) -> HttpResponse:
        if "review" in request.POST:
            return show_form(request, self.template, _form(request, request.POST))
        return self._make(request)

    @once
    def _make(self, request: HttpRequest) -> HttpResponse:
        form = _form(request, request.POST)
        if form.is_valid():
            try:
                row = _make(request, form.cleaned_data)
            except LambdaError as refused:
                explain(form, refused)
            else:
                return redirect("compute:instance", id=row.public_id)
        return show_form(request, self.template, form)


class Estimate(LoginRequiredMixin, View):
    """What the choice costs and its API call, asked while it is made. Without a script the form's Review asks."""

    scopes = {"GET": "instances:create"}

    def get(self, request: HttpRequest) -> HttpResponse:
        data = request.GET if "instance_type" in request.GET else None
        return render(request, "compute/instances/_estimated.html", {"form": _form(request, data)})


def _form(request: HttpRequest, data: Any = None) -> InstanceForm:
    adds_keys = "ssh_keys:write" in request.membership.scopes
    return InstanceForm(data, account=request.account, adds_keys=adds_keys)


def _make(request: HttpRequest, fields: dict[str, Any]) -> Instance:
    public_key = fields.pop("public_key", "")
    if public_key:
        return instances.create_with_key(account=request.account, by=request.by, public_key=public_key, **fields)
    return instances.create(account=request.account, by=request.by, **fields)
