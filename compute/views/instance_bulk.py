"""One verb for many instances: what will happen to each is said before, what was refused is said after."""

from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from compute.actions import instances
from compute.models import Instance
from compute.views.instances import PAGE
from core.errors import LambdaError
from dashboard.calls import Call
from dashboard.forms import once


class Verb(NamedTuple):
    """What can be done with many. `does` is said of each, `doing` of all; `done`: states in which nothing is left."""

    label: str
    call: Any
    scope: str
    does: str
    doing: str
    done: tuple[str, ...]


VERBS = {
    "start": Verb(
        "Start",
        instances.start,
        "instances:power",
        "Starts, and is billed from then on",
        "starting",
        ("running", "starting", "provisioning", "pending", "restarting"),
    ),
    "stop": Verb(
        "Stop",
        instances.stop,
        "instances:power",
        "Its programs are told to end; its disk and address stay",
        "stopping",
        ("stopped", "stopping"),
    ),
    "restart": Verb(
        "Restart",
        instances.restart,
        "instances:power",
        "Its SSH sessions close; it is back within seconds",
        "restarting",
        ("restarting",),
    ),
    "delete": Verb(
        "Delete",
        instances.delete,
        "instances:delete",
        "Its disk is erased and its address given back",
        "being deleted",
        ("deleting",),
    ),
}


class Line(NamedTuple):
    """One instance, and what will become or has become of it; tone: ok, bad, or quiet where nothing happens."""

    instance: Instance
    tone: str
    words: str


class Bulk(LoginRequiredMixin, View):
    """GET asks whether, POST does it: in both the address or the form names `action` and each `id`."""

    scopes = {"GET": "instances:power"}

    def get(self, request: HttpRequest) -> HttpResponse:
        action, rows = self._asked(request, request.GET)
        return self._question(request, action, rows)

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        action, rows = self._asked(request, request.POST)
        if not rows:
            return self._question(request, action, rows)
        if action == "delete" and request.POST.get("confirm", "").strip() != _password(rows):
            return self._question(request, action, rows, error=f"Type exactly: {_password(rows)}")
        verb = VERBS[action]
        lines = [_carry_out(request, verb, row) for row in rows]
        refused = [line for line in lines if line.tone == "bad"]
        if not refused:
            messages.success(request, f"{_count(len(rows))} {'is' if len(rows) == 1 else 'are'} {verb.doing}.")
            return redirect("compute:instances")
        context = {"lines": lines, "verb": verb, "refused": len(refused), "done": len(lines) - len(refused)}
        return render(request, "compute/instances/bulk_done.html", context)

    def _asked(self, request: HttpRequest, given: Any) -> tuple[str, list[Instance]]:
        """The verb and the account's own among the chosen. Raises PermissionDenied for another scope's verb."""
        action = given.get("action", "")
        action = action if action in VERBS else "stop"
        if VERBS[action].scope not in request.membership.scopes:
            raise PermissionDenied("Your role in this account does not allow this. Ask an owner or admin of it.")
        keys = []
        for id in given.getlist("id")[:PAGE]:
            try:
                keys.append(Instance.key(id))
            except ValueError:
                continue
        rows = Instance.objects.for_account(request.account).select_related("account__plan").filter(pk__in=keys)
        return action, list(rows)

    def _question(self, request: HttpRequest, action: str, rows: list[Instance], error: str = "") -> HttpResponse:
        lines = [_expected(action, row) for row in rows]
        context = {
            "action": action,
            "verb": VERBS[action],
            "lines": lines,
            "any": any(line.tone == "ok" for line in lines),
            "count": _count(len(rows)),
            "password": _password(rows) if action == "delete" else "",
            "error": error,
            "calls": [_call(action, line.instance) for line in lines if line.tone == "ok"][:5],
        }
        return render(request, "compute/instances/bulk.html", context, status=422 if error else 200)


def _expected(action: str, row: Instance) -> Line:
    verb = VERBS[action]
    if row.state in verb.done:
        return Line(row, "quiet", f"Is {row.state} already: nothing happens")
    if action == "delete" and row.protected:
        return Line(row, "bad", "Is protected: it stays")
    if action not in row.can:
        return Line(row, "bad", f"Is {row.state}: this will be refused")
    return Line(row, "ok", verb.does)


def _carry_out(request: HttpRequest, verb: Verb, row: Instance) -> Line:
    before = row.generation
    try:
        after = verb.call(instance=row, by=request.by)
    except LambdaError as refused:
        return Line(row, "bad", refused.message)
    if after.generation == before:
        return Line(after, "quiet", f"Was {after.state} already")
    return Line(after, "ok", f"Is {verb.doing}")


def _call(action: str, row: Instance) -> Call:
    path = f"/v1/instances/{row.public_id}"
    if action == "delete":
        return Call(f"Delete {row.name}", "DELETE", path)
    return Call(f"{VERBS[action].label} {row.name}", "POST", f"{path}/{action}")


def _count(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"


def _password(rows: list[Instance]) -> str:
    """What has to be typed before many are deleted."""
    return f"delete {len(rows)}"
