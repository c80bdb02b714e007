"""Instances in the dashboard: the list with its filters, one instance with its console, power, delete.

Making one is in `instance_create.py`, changing one in `instance_changes.py`, doing something with many in
`instance_bulk.py`.
"""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View
from django_htmx.http import HTMX_STOP_POLLING

from api.filters import COUNTED, HasTag
from api.renderers import HOURS
from catalog.models import Region
from compute.actions import instances
from compute.drivers import open_driver
from compute.drivers.base import DriverError
from compute.models import Instance
from compute.models.instance import STATES
from core.errors import LambdaError
from core.models import Counter, Event
from dashboard.calls import Call
from dashboard.pages import find_or_404

PAGE = 50
SORTS = {"created_at": "pk", "name": "name"}  # those of the API
TAILS = [50, 200, 1000]  # lines of the console
FIRST_BOOT = [
    ("instance.requested", "Accepted"),
    ("", "Machine made"),
    ("instance.created", "Started"),
    ("instance.ready", "SSH answers"),
]


class Filters(forms.Form):
    """The names are those of the API's filters, so that one query string serves both."""

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
            key, _, value = given["tag"].partition(":")
            rows = rows.filter(HasTag("tags", key, value))
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
        sound = form.is_valid()
        chosen = form.select(rows) if sound else rows.none()
        page, (sort, order) = _page(request), _order(request)
        sign = "-" if order == "desc" else ""
        ordered = chosen.order_by(*dict.fromkeys([sign + SORTS[sort], f"{sign}pk"])).defer("user_data", "host_key")
        found = list(ordered[(page - 1) * PAGE : page * PAGE + 1])
        kept = {name: request.GET[name] for name in (*form.fields, "sort", "order") if request.GET.get(name)}
        context = _table(request, found[:PAGE], kept, page)
        if request.htmx:
            status = 200 if context["moving"] else HTMX_STOP_POLLING
            return render(request, "compute/instances/_table.html", context, status=status)
        narrowed = any(request.GET.get(name) for name in form.fields)
        total = _total(request, chosen, narrowed)
        context |= {
            "form": form,
            "narrowed": narrowed,
            "total": total,
            "capped": total > COUNTED,
            "first": (page - 1) * PAGE + 1,
            "last": (page - 1) * PAGE + len(context["instances"]),
            "previous": _address(kept, page=page - 1) if page > 1 else "",
            "next": _address(kept, page=page + 1) if len(found) > PAGE else "",
            "calls": [Call("What this page shows", "GET", f"/v1/instances?{urlencode({**kept, 'limit': PAGE})}")],
        }
        return render(request, "compute/instances/list.html", context, status=200 if sound else 422)


def _table(request: HttpRequest, rows: list[Instance], kept: dict[str, str], page: int) -> dict[str, Any]:
    """What the rows need. `kept`: the filters and the order, as the address says them."""
    sort, order = _order(request)
    turned = {name: "desc" if (sort, order) == (name, "asc") else "asc" for name in SORTS}
    return {
        "instances": rows,
        "moving": any(row.moving for row in rows),
        "choosing": {"instances:power", "instances:delete"} & request.membership.scopes,
        "chosen": set(request.GET.getlist("id")),
        "poll": _address(kept, page=page),
        "sort": sort,
        "order": order,
        "headers": {name: _address(kept, sort=name, order=turned[name]) for name in SORTS},
    }


def _page(request: HttpRequest) -> int:
    asked = request.GET.get("page", "")
    return int(asked) if asked.isdecimal() and 0 < int(asked) < 1_000_000 else 1


def _order(request: HttpRequest) -> tuple[str, str]:
    """What the list is sorted by and in which direction; what is unknown is as good as not asked."""
    sort, order = request.GET.get("sort", ""), request.GET.get("order", "")
    return sort if sort in SORTS else "created_at", order if order in ("asc", "desc") else "desc"


def _total(request: HttpRequest, chosen: "QuerySet[Instance]", narrowed: bool) -> int:
    """How many there are; of a narrowed list at most one more than COUNTED."""
    if not narrowed:
        return Counter.of(request.account, "instance")
    return chosen.order_by().values("pk")[: COUNTED + 1].count()


def _address(kept: dict[str, str], **changed: Any) -> str:
    said = {**kept, **changed}
    if said.get("page") == 1:
        del said["page"]
    return f"?{urlencode(said)}"


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
            status = 200 if row.moving else HTMX_STOP_POLLING
            return render(request, "compute/instances/_live.html", context, status=status)
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
