"""`/v1/instances`: machines, and what can be done with them.

It is long because all that can be done with an instance belongs on one page.
"""

from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, TypedDict, TypeVar

from django.conf import settings
from django.utils import timezone
from django_filters import CharFilter
from rest_framework import serializers

from accounts.models import Account
from api import waiting
from api.events import EventFilters, EventOut
from api.events import representation as event_representation
from api.filters import AnyOf, Filters, Tags
from api.pagination import number, page
from api.renderers import Accepted, Answer, Created, Page, like, public_id
from api.serializers import Input
from api.shelf import Shelf
from api.views import ViewSet, one
from catalog.models import Price, Region
from compute.actions import instances
from compute.actions.instances import InvalidState
from compute.drivers import open_driver
from compute.drivers.base import DriverError, NotFound
from compute.models import Instance
from compute.models.instance import LIFECYCLE, SSH_USER, STATES
from core import db, ids
from core.errors import Invalid, LambdaError, Unavailable
from core.models import Counter, Event

MAX_CONSOLE_LINES = 10_000
A = TypeVar("A", bound=Answer[Any])


class WaitTimeout(LambdaError):
    code = "wait_timeout"


class CreateInput(Input):
    name = serializers.CharField(max_length=100, help_text="For people; need not be unique.")
    instance_type = serializers.CharField(max_length=48, help_text="Its size, one of `/v1/instance-types`.")
    region = serializers.CharField(max_length=48, help_text="Where it runs, one of `/v1/regions`.")
    image = serializers.CharField(max_length=48, help_text="What it starts from, one of `/v1/images`.")
    ssh_keys = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        max_length=50,
        help_text="Who may log in: ids or names of SSH keys.",
    )
    user_data = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="A script for the first boot, up to 64 KiB."
    )
    network = serializers.CharField(max_length=64, required=False, help_text="Default: `default`.")
    public_ip = serializers.BooleanField(required=False, help_text="Default: true.")
    tags = serializers.DictField(child=serializers.CharField(max_length=256, allow_blank=True), required=False)
    start = serializers.BooleanField(required=False, help_text="Default: true.")
    protected = serializers.BooleanField(required=False, help_text="Refuse to delete it. Default: false.")

    example = {
        "name": "web-1",
        "instance_type": "compute-1x",
        "region": "us-east-1",
        "image": "ubuntu-22.04",
        "tags": {"env": "production"},
    }


class UpdateInput(Input):
    name = serializers.CharField(max_length=100, required=False)
    tags = serializers.DictField(
        child=serializers.CharField(max_length=256, allow_blank=True, allow_null=True),
        required=False,
        allow_null=True,
        help_text="Merged into the tags that it has; null removes one, or in their place all.",
    )
    protected = serializers.BooleanField(required=False)

    example = {"name": "web-2", "tags": {"env": None, "team": "shop"}}


class StopInput(Input):
    force = serializers.BooleanField(default=False, help_text="Do not wait for its programs to end.")

    example = {"force": True}


class ResizeInput(Input):
    instance_type = serializers.CharField(max_length=48)
    restart = serializers.BooleanField(default=False, help_text="Restart it if it runs.")

    example = {"instance_type": "compute-2x", "restart": True}


class RebuildInput(Input):
    image = serializers.CharField(max_length=48)

    example = {"image": "debian-12"}


class SshOut(TypedDict):
    user: Annotated[str, like("lambda")]
    host: Annotated[str, like("127.64.0.2")]
    port: Annotated[int | None, like(22)]
    command: Annotated[str | None, like("ssh lambda@127.64.0.2"), "What to paste into a terminal."]


class InstanceOut(TypedDict):
    id: Annotated[str, public_id("inst")]
    name: Annotated[str, like("web-1")]
    status: Annotated[str, like("running"), {"enum": STATES}]
    status_reason: Annotated[str | None, "In plain words, where there is something to explain."]
    ready: Annotated[bool, "SSH answers."]
    instance_type: Annotated[str, like("compute-1x")]
    region: Annotated[str, like("us-east-1")]
    image: Annotated[str, like("ubuntu-22.04")]
    os: Annotated[str | None, like("Debian GNU/Linux 12 (bookworm)"), "What is really inside."]
    vcpus: int
    memory_mb: Annotated[int, like(1024)]
    disk_gb: Annotated[int, like(10)]
    public_ip: Annotated[str | None, like("127.64.0.2")]
    private_ip: str | None
    ssh: SshOut | None
    ssh_keys: Annotated[list[str], like(["key_01m803p6fsep5t56hn7y1dmqyp"]), "Ids of those it was made with."]
    network: Annotated[str, like("default")]
    tags: Annotated[dict[str, str], like({"env": "production"})]
    protected: Annotated[bool, like(False)]
    billing_state: Annotated[str, {"enum": ["billed", "free"]}]
    hourly_price: Annotated[str, like("0.0080"), "A decimal."]
    month_to_date_cost: Annotated[str, like("0.9600"), "A decimal: since the month began (UTC), to the second."]
    currency: Annotated[str, like("USD")]
    resource_id: Annotated[str | None, like("RES_1234567890"), "Its number in the inventory."]
    created_at: datetime
    updated_at: datetime
    started_at: Annotated[datetime | None, like("2026-11-03T09:30:00Z")]
    stopped_at: datetime | None


class ConsoleLogOut(TypedDict):
    instance_id: Annotated[str, public_id("inst")]
    lines: Annotated[list[str], like(["web-1 login: "]), "The last ones, oldest first."]
    log: Annotated[str, like("web-1 login: "), "The same as one text."]


def representation(row: Instance) -> InstanceOut:
    """An instance as the API shows it; `row` must come from `Instance.objects.for_account`."""
    address = row.public_ip
    return {
        "id": row.public_id,
        "name": row.name,
        "status": row.state,
        "status_reason": row.status_reason or None,
        "ready": row.ready,
        "instance_type": row.instance_type,
        "region": row.region,
        "image": row.image,
        "os": row.os or None,
        "vcpus": row.vcpus,
        "memory_mb": row.memory_mb,
        "disk_gb": row.disk_gb,
        "public_ip": address,
        "private_ip": None,
        "ssh": {"user": SSH_USER, "host": address, "port": row.ssh_port, "command": row.ssh_command}
        if address
        else None,
        "ssh_keys": [key["id"] for key in row.ssh_keys],
        "network": row.network,
        "tags": row.tags,
        "protected": row.protected,
        "billing_state": "billed" if row.metered_from else "free",
        "hourly_price": f"{row.hourly_price:.4f}",
        "month_to_date_cost": f"{row.month_to_date_cost():.4f}",
        "currency": "USD",
        "resource_id": ids.encode_number("RES", row.resource_pk) if row.resource_pk else None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "stopped_at": row.stopped_at,
    }


_shelf: Shelf[Any, InstanceOut] = Shelf()


def _page(account: Account, number: int, limit: int) -> Page[InstanceOut]:
    """A page of all instances: what each looked like in this version, with what it has cost by now."""
    briefs, total = Instance.objects.page(account, number, limit)

    def make(keys: list[Any]) -> dict[Any, tuple[int, InstanceOut]]:
        rows = Instance.objects.some(account, keys)
        return {db.adapted(row.pk): (row.version, representation(row)) for row in rows}

    looks, now = _shelf.take([(brief.key, brief.version) for brief in briefs], make), timezone.now()
    items: list[InstanceOut] = [
        {**looks[brief.key], "month_to_date_cost": f"{brief.month_to_date_cost(now):.4f}"}
        for brief in briefs
        if brief.key in looks
    ]
    return Page(items, number, limit, total)


class InstanceFilters(Filters):
    status = AnyOf("state", lambda: dict(zip(STATES, STATES, strict=True)), label="One or more, separated by commas.")
    region = AnyOf("region", Region.names, label="One or more, separated by commas.")
    name = CharFilter(label="Exactly this name.")
    q = CharFilter("name", "icontains", label="What the name contains.")
    tag = Tags("tags", label="`key:value`; repeat it for instances that have all of them.")


class Instances(ViewSet):
    """Machines that you can `ssh` into. Changing one is answered at once; a worker then carries it out."""

    scopes = {
        "list": "instances:read",
        "retrieve": "instances:read",
        "create": "instances:create",
        "update": "instances:update",
        "destroy": "instances:delete",
        "start": "instances:power",
        "stop": "instances:power",
        "restart": "instances:power",
        "resize": "instances:update",
        "rebuild": "instances:update",
        "wait": "instances:read",
        "console_log": "instances:read",
        "events": "instances:read",
    }
    query = {
        "list": InstanceFilters.query(),
        "wait": {
            "status": {
                "type": "string",
                "enum": [*STATES, "ready"],
                "default": "running",
                "description": "What to wait for.",
            },
            "timeout": {
                "type": "integer",
                "minimum": 1,
                "maximum": waiting.MAX_SECONDS,
                "default": waiting.MAX_SECONDS,
                "description": "Seconds.",
            },
        },
        "console_log": {
            "tail": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_CONSOLE_LINES,
                "default": 100,
                "description": "How many lines.",
            }
        },
        "events": EventFilters.query(),
    }
    takes = {
        "create": CreateInput,
        "update": UpdateInput,
        "stop": StopInput,
        "resize": ResizeInput,
        "rebuild": RebuildInput,
    }

    def rows(self, request) -> Any:
        return Instance.objects.for_account(request.account).select_related("account__plan")

    def hourly_price(self, shown: dict[str, Any]) -> Decimal:
        return Price.objects.at(f"instance.{shown['instance_type']}")

    def _shown(self, kind: type[A], row: Instance) -> A:
        """A verb's answer: recording its event has set the row's number in the inventory."""
        return kind(representation(row), version=row.version)

    def list(self, request) -> Answer[Page[InstanceOut]]:
        if InstanceFilters.asked(request):
            chosen = Instance.objects.for_account(request.account)
            count = partial(Counter.of, request.account, "instance")
            return Answer(InstanceFilters.page(request, chosen, representation, total=count))
        return Answer(_page(request.account, *page(request)))

    def retrieve(self, request, id: str) -> Answer[InstanceOut]:
        row = one(lambda key: Instance.objects.one(request.account, key), Instance, id)
        return Answer(representation(row), version=row.version)

    def create(self, request) -> Created[InstanceOut]:
        row = instances.create(account=request.account, by=request.by, **CreateInput.sift(request))
        return self._shown(Created, row)

    def update(self, request, id: str) -> Answer[InstanceOut]:
        row = instances.update(instance=self.row(request, id), by=request.by, **UpdateInput.read(request))
        return self._shown(Answer, row)

    def destroy(self, request, id: str) -> Accepted[InstanceOut]:
        return self._shown(Accepted, instances.delete(instance=self.row(request, id), by=request.by))

    def start(self, request, id: str) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        return self._command(request, id, instances.start)

    def stop(self, request, id: str) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        return self._command(request, id, instances.stop, **StopInput.read(request))

    def restart(self, request, id: str) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        return self._command(request, id, instances.restart)

    def resize(self, request, id: str) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        return self._command(request, id, instances.resize, **ResizeInput.read(request))

    def rebuild(self, request, id: str) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        return self._command(request, id, instances.rebuild, **RebuildInput.read(request))

    def _command(self, request, id: str, verb, **fields: Any) -> Answer[InstanceOut] | Accepted[InstanceOut]:
        """202 where something will be done, 200 where it is so already."""
        before = self.row(request, id)
        after = verb(instance=before, by=request.by, **fields)
        return self._shown(Answer if after.generation == before.generation else Accepted, after)

    def wait(self, request, id: str) -> Answer[InstanceOut]:
        """Wait for a status

        Answers as soon as the instance has it: one request instead of a polling loop. 408 when the time is over, 409 as
        soon as nothing that is under way leads there.
        """
        wanted = request.query_params.get("status", "running")
        if wanted not in [*STATES, "ready"]:
            raise Invalid.field("status", f"There is no status '{wanted}'", value=wanted, allowed=[*STATES, "ready"])
        seconds = number(request, "timeout", default=waiting.MAX_SECONDS, low=1, high=waiting.MAX_SECONDS)
        row = self.row(request, id)
        found = waiting.wait(lambda: self._reached(row, wanted), account=row.account_id, seconds=seconds)
        if found is None:
            now = self.row(request, id)
            raise WaitTimeout(f"The instance is still {now.state}, not {wanted}", current=now.state, ready=now.ready)
        return Answer(found)

    def _reached(self, row: Instance, wanted: str) -> InstanceOut | None:
        """The instance once it has the status, None while it may yet. Raises InvalidState where it never will."""
        fresh = Instance.objects.one(row.account, row.pk)
        if fresh is None:
            if wanted == "deleted":
                return {**representation(row), "status": "deleted"}
            message = f"The instance is deleted and will never be {wanted}"
            raise InvalidState(message, current="deleted", allowed_from=[])
        if fresh.state == wanted or (wanted == "ready" and fresh.ready):
            return representation(fresh)
        _refuse_the_impossible(fresh, wanted)
        return None

    def console_log(self, request, id: str) -> Answer[ConsoleLogOut]:
        """Get the console log of an instance."""
        row = self.row(request, id)
        tail = number(request, "tail", default=100, low=1, high=MAX_CONSOLE_LINES)
        try:
            text = open_driver(settings.LAMBDA_DRIVER, settings.LAMBDA_NODE_HOME).console(row.public_id)
        except NotFound:
            text = b""
        except DriverError as trouble:
            raise Unavailable(f"The console cannot be read now: {trouble}") from trouble
        lines = text.decode(errors="replace").splitlines()[-tail:]
        return Answer({"instance_id": row.public_id, "lines": lines, "log": "\n".join(lines)})

    def events(self, request, id: str) -> Answer[Page[EventOut]]:
        """List what happened to an instance."""
        row = self.row(request, id)
        log = Event.objects.for_account(request.account).filter(subject_id=row.pk)
        return Answer(EventFilters.page(request, log, event_representation))


def _refuse_the_impossible(row: Instance, wanted: str) -> None:
    """409 as soon as nothing that is under way leads to what is waited for."""
    settled = row.state in ("running", "stopped", "error") and (row.ready or row.state != "running")
    leaving = row.state == "deleting" and wanted != "deleted"
    if settled or leaving:
        raise InvalidState(
            f"The instance is {row.state} and nothing is under way that makes it {wanted}"
            + (f": {row.status_reason}" if row.status_reason else ""),
            current=row.state,
            allowed_from=LIFECYCLE.sources(wanted) if wanted in STATES else [],
            checked_at=timezone.now(),
        )
