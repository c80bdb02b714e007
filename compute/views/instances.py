"""Instances in the dashboard: the list with its filters, one instance with its console, power, delete.

Making one is in `instance_create.py`, changing one in `instance_changes.py`, doing something with many in
`instance_bulk.py`.
"""

from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from api.filters import HasTag
from api.renderers import HOURS
from catalog.models import Region
from compute.actions import instances
from compute.drivers import open_driver
from compute.drivers.base import DriverError
from compute.models import Instance
from compute.models.instance import STATES
from core.errors import LambdaError
from core.models import Event
from dashboard import lists
from dashboard.calls import Call
from dashboard.pages import Question, find_or_404, show_form, show_live

PAGE = 50
SORTS = {"created_at": "pk", "name": "name"}  # those of the API
TAILS = [50, 200, 1000]  # lines of the console
FIRST_BOOT = [
    ("instance.requested", "Accepted"),
    ("", "Machine made"),
    ("instance.created", "Started"),
    ("instance.ready", "SSH answers"),
]


class Filters(lists.Filters):
    also = ("sort", "order")

    q = forms.CharField(required=False, max_length=100, label="Name", widget=forms.TextInput(attrs={"type": "search"}))
    status = forms.ChoiceField(required=False, label="State")
    region = forms.ChoiceField(required=False, label="Region")
    tag = forms.CharField(required=False, max_length=330, label="Tag")

    def __init__(self, *args: Any, regions: list[str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        asked = Region.objects.named(self.data.get("region", ""))  # also one that has none of them any more
        known = sorted({*regions, *([asked.slug] if asked else [])})
        self.fields["status"].choices = [("", "Any"), *((state, state.capitalize()) for state in STATES[:-1])]
        self.fields["region"].choices = [("", "All"), *((slug, slug) for slug in known)]
        self.fields["q"].widget.attrs["placeholder"] = "contains…"
        self.fields["tag"].widget.attrs["placeholder"] = "env:production"

    def clean_tag(self) -> str:
        text: str = self.cleaned_data["tag"]
        if text and ":" not in text:
            raise ValidationError(f"Write it as key:value, for example {text}:yes")
        return text

    def select(self, rows: "QuerySet[Instance]") -> "QuerySet[Instance]":
        given = self.cleaned_data
        if given["q"]:
            rows = rows.filter(name__icontains=given["q"])
        if given["status"]:
            rows = rows.filter(state=given["status"])
        if given["region"]:
            rows = rows.filter(region=given["region"])
        if given["tag"]:
            rows = rows.filter(HasTag("tags", given["tag"]))
        return rows


class Step(NamedTuple):
    """A step of the first boot. `status`: done, busy, failed or nothing while it is still to come."""

    label: str
    status: str
    seconds: float | None


class List(LoginRequiredMixin, View):
    scopes = {"GET": "instances:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = Instance.objects.filter(account=request.account)
        form = Filters(request.GET, regions=list(rows.order_by().values_list("region", flat=True).distinct()))
        sort, order = _order(request)
        sign = "-" if order == "desc" else ""
        ordered = rows.order_by(*dict.fromkeys([sign + SORTS[sort], f"{sign}pk"])).defer("user_data", "host_key")
        part = lists.Numbered(request, ordered, form, PAGE, "instance")
        turned = {name: "desc" if (sort, order) == (name, "asc") else "asc" for name in SORTS}
        context = {
            "instances": part.rows,
            "part": part,
            "moving": any(row.moving for row in part.rows),
            "choosing": {"instances:power", "instances:delete"} & request.membership.scopes,
            "chosen": set(request.GET.getlist("id")),
            "sort": sort,
            "order": order,
            "headers": {name: lists.address(form.kept, sort=name, order=turned[name]) for name in SORTS},
        }
        if request.htmx:
            return show_live(request, "compute/instances/_table.html", context, context["moving"])
        shown = Call("What this page shows", "GET", f"/v1/instances{lists.address(form.kept, limit=PAGE)}")
        return show_form(request, "compute/instances/list.html", form, calls=[shown], **context)


def _order(request: HttpRequest) -> tuple[str, str]:
    """What the list is sorted by and in which direction; what is unknown is as good as not asked."""
    sort, order = request.GET.get("sort", ""), request.GET.get("order", "")
    return sort if sort in SORTS else "created_at", order if order in ("asc", "desc") else "desc"


class Detail(LoginRequiredMixin, View):
    scopes = {"GET": "instances:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(Instance.objects.filter(account=request.account).defer("user_data"), id)
        log = list(Event.objects.for_account(request.account).filter(subject_id=row.pk)[:20])
        steps, took = _first_boot(row, log)
        context = {
            "instance": row,
            "events": log,
            "steps": steps,
            "took": took,
            "monthly": row.hourly_price * HOURS,
            **_console(request, row),
        }
        if request.htmx:
            return show_live(request, "compute/instances/_live.html", context, row.moving)
        return render(request, "compute/instances/detail.html", context | {"calls": _calls(row)})


class Console(LoginRequiredMixin, View):
    """The console alone: what Refresh and the numbers of lines put into the page."""

    scopes = {"GET": "instances:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        row = find_or_404(Instance.objects.filter(account=request.account).defer("user_data"), id)
        return render(request, "compute/instances/_console.html", {"instance": row, **_console(request, row)})


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


class Delete(Question):
    scopes = {"GET": "instances:delete"}
    template, called, typed = "compute/instances/delete.html", "instance", "name"
    after, back = "compute:instances", "compute:instance"

    def find(self, request: HttpRequest, id: str) -> Instance:
        return find_or_404(Instance.objects.for_account(request.account).select_related("account__plan"), id)

    def act(self, request: HttpRequest, row: Instance) -> str:
        instances.delete(instance=row, by=request.by)
        return f"“{row.name}” is being deleted."


def _calls(row: Instance) -> list[Call]:
    path = f"/v1/instances/{row.public_id}"
    return [
        Call("What this page shows", "GET", path),
        Call("Start", "POST", f"{path}/start"),
        Call("Stop", "POST", f"{path}/stop"),
        Call("Restart", "POST", f"{path}/restart"),
        Call("Wait until SSH answers", "GET", f"{path}/wait?status=ready&timeout=30"),
        Call("Console", "GET", f"{path}/console-log?tail={TAILS[1]}"),
        Call("Activity", "GET", f"{path}/events"),
        Call("Delete", "DELETE", path),
    ]


def _first_boot(row: Instance, log: list[Event]) -> tuple[list[Step], float | None]:
    """The steps of the first boot while it lasts, and once it is over how many seconds it took, where the log says."""
    at = {event.type: event.at for event in reversed(log) if event.type.startswith("instance.")}
    asked, ready = at.get("instance.requested"), at.get("instance.ready")
    if asked is None or ready or (row.first_up_at and not row.moving) or row.state in ("stopped", "deleting"):
        first = min((event.at for event in log if event.type == "instance.ready"), default=None)
        return [], (first - asked).total_seconds() if asked and first else None
    found, status = [], "done"
    for type, label in FIRST_BOOT:
        done = type in at or (not type and "instance.created" in at)
        if not done and status == "done":
            status = "failed" if row.state == "error" else "busy"
        elif not done:
            status = ""
        found.append(Step(label, status, (at[type] - asked).total_seconds() if type in at else None))
    return found, None


def _console(request: HttpRequest, row: Instance) -> dict[str, Any]:
    """The console's last lines, as many as the address asks for, and how many there are to choose from."""
    asked = request.GET.get("tail", "")
    tail = int(asked) if asked in map(str, TAILS) else TAILS[1]
    try:
        text = open_driver(settings.LAMBDA_DRIVER, settings.LAMBDA_NODE_HOME).console(row.public_id)
    except DriverError:
        text = b""
    return {"console": "\n".join(text.decode(errors="replace").splitlines()[-tail:]), "tail": tail, "tails": TAILS}
