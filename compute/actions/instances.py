"""Instances: every write. User verbs say what shall be; system verbs (`mark_…`) say what is.

A user verb only changes rows and nudges a worker; `compute/tasks.py` drives the machine. Each user verb raises the
`generation`, and each move is a compare-and-set on state and generation, so a worker that slept through a change
moves nothing.

Long, because the verbs of one noun belong on one page.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import Account
from catalog.models import Image, InstanceType, Price, Region
from compute.actions import ssh_keys as ssh_key_verbs
from compute.models import Instance, Node, SshKey
from compute.models.instance import LIFECYCLE, VERBS
from core import db, epoch, events
from core.context import SYSTEM, Actor
from core.db import atomic_write
from core.errors import Conflict, FieldError, Invalid, LimitExceeded, Unavailable, joined
from core.models import Counter

NUDGE_PATIENCE = timedelta(seconds=15)  # a nudge arrives in milliseconds; later than this it was lost
MAX_USER_DATA = 64 * 1024  # bytes
MAX_TAGS = 50
RETRY_CEILING = 300  # seconds between two attempts at most


class InstanceQuotaExceeded(LimitExceeded):
    pass


class InvalidState(Conflict):
    code = "invalid_state"


class InstanceProtected(Conflict):
    code = "protected"


# --- User verbs


@atomic_write()
def create(
    *,
    account: Account,
    by: Actor,
    name: str,
    instance_type: str,
    region: str,
    image: str,
    ssh_keys: Iterable[str] = (),
    user_data: str = "",
    network: str = "default",
    public_ip: bool = True,
    tags: Mapping[str, str] | None = None,
    start: bool = True,
    protected: bool = False,
    wrong: Sequence[FieldError] = (),
) -> Instance:
    """Accept an instance; a worker makes it. `ssh_keys` are ids or names, `wrong` is what was found wrong before.
    Long, because every field is named once.

    Records: instance.requested. Raises: Invalid with every wrong field, InstanceQuotaExceeded, Unavailable.
    """
    errors: list[FieldError] = []
    sold_type = _on_sale(InstanceType, "instance_type", "Invalid instance type specified", instance_type, errors)
    sold_region = _on_sale(Region, "region", "Invalid region specified", region, errors)
    sold_image = _on_sale(Image, "image", "Invalid image specified", image, errors)
    keys = _keys(account, ssh_keys, errors)
    errors += [*_name_errors(name), *_tag_errors(tags or {}), *_user_data_errors(user_data)]
    if network != "default":
        errors.append(FieldError("network", f"There is no network '{network}' in this account", network, ["default"]))
    if errors or wrong or not (sold_type and sold_region and sold_image):
        raise Invalid(errors=joined(wrong, errors))
    node = _usable_node()
    _charge_quota(account, instances=1, vcpus=sold_type.vcpus)
    instance = Instance(
        account=account,
        name=name.strip(),
        tags=dict(tags or {}),
        protected=protected,
        region=sold_region.slug,
        instance_type=sold_type.slug,
        image=sold_image.slug,
        vcpus=sold_type.vcpus,
        memory_mb=sold_type.memory_mb,
        disk_gb=sold_type.disk_gb,
        wants_public_ip=public_ip,
        ssh_keys=[{"id": key.public_id, "name": key.name, "public_key": key.public_key} for key in keys],
        user_data=user_data,
        desired_state="running" if start else "stopped",
        next_attempt_at=timezone.now() + NUDGE_PATIENCE,
        os=node.os if node else "",
        hourly_price=Price.objects.at(sold_type.sku),
    )
    db.insert(instance)
    events.record("instance.requested", account=account, by=by, subject=instance)
    _nudge(instance)
    return instance


@atomic_write()
def create_with_key(
    *, account: Account, by: Actor, public_key: str, ssh_keys: Iterable[str] = (), name: str, **fields: Any
) -> Instance:
    """As `create`, and let in one more key, which the account gets where it does not have it. Both or neither.

    Records: ssh_key.added, instance.requested. Raises: what `create` and `ssh_keys.add` do.
    """
    key = ssh_key_verbs.ensure(account=account, by=by, public_key=public_key)
    return create(account=account, by=by, ssh_keys=[*ssh_keys, key.public_id], name=name, **fields)


@atomic_write()
def update(
    *,
    instance: Instance,
    by: Actor,
    name: str | None = None,
    tags: Mapping[str, str | None] | None = MappingProxyType({}),
    protected: bool | None = None,
) -> Instance:
    """Another name, other tags (merged: None removes one, or all) or protection.

    Records: instance.updated. Raises: Invalid.
    """
    instance = _locked(instance)
    merged = {**instance.tags, **tags} if tags is not None else {}
    kept = {key: value for key, value in merged.items() if value is not None}
    if errors := [*(_name_errors(name) if name is not None else []), *_tag_errors(kept)]:
        raise Invalid(errors=errors)
    instance.name = name.strip() if name is not None else instance.name
    instance.protected = instance.protected if protected is None else protected
    instance.tags = kept
    instance.save(update_fields=["name", "tags", "protected", "updated_at"])
    events.record("instance.updated", account=instance.account, by=by, subject=instance)
    return instance


@atomic_write()
def start(*, instance: Instance, by: Actor) -> Instance:
    """Run a stopped or failed instance; one that runs is left as it is.

    Records: instance.updated. Raises: InvalidState.
    """
    instance = _locked(instance)
    if instance.desired_state == "running" and instance.state in ("running", "starting", "provisioning", "pending"):
        return instance
    _usable_node()
    return _command(instance, "starting", by, desired_state="running", allowed=VERBS["start"])


@atomic_write()
def stop(*, instance: Instance, by: Actor, force: bool = False) -> Instance:
    """Stop a running instance; `force` kills it at once. Records: instance.updated. Raises: InvalidState."""
    instance = _locked(instance)
    if instance.state in ("stopped", "stopping"):
        return instance
    return _command(instance, "stopping", by, desired_state="stopped", allowed=VERBS["stop"], force_stop=force)


@atomic_write()
def restart(*, instance: Instance, by: Actor) -> Instance:
    """Records: instance.updated. Raises: InvalidState."""
    return _command(_locked(instance), "restarting", by, desired_state="running", allowed=VERBS["restart"])


@atomic_write()
def retry(*, instance: Instance, by: Actor) -> Instance:
    """Work at once on what waits for its next attempt, or has failed: towards what the user asked for last.

    Records: instance.updated. Raises: InvalidState where there is nothing to do, Unavailable.
    """
    instance = _locked(instance)
    if instance.state == "error":
        verb = stop if instance.desired_state == "stopped" else start
        return verb(instance=instance, by=by)
    if instance.next_attempt_at is None:
        waiting = sorted({"error", *LIFECYCLE.transitions} - {"running", "stopped"})
        message = f"The instance is {instance.state}, as it should be: there is nothing to try again"
        raise InvalidState(message, current=instance.state, allowed_from=waiting)
    instance.attempts, instance.next_attempt_at = 0, timezone.now() + NUDGE_PATIENCE
    # Not `save`: it would say that the state has just been entered.
    Instance.objects.filter(pk=instance.pk).update(
        attempts=0, next_attempt_at=instance.next_attempt_at, version=F("version") + 1
    )
    instance.version += 1
    events.record("instance.updated", account=instance.account, by=by, subject=instance, data={"reason": "Tried again"})
    _nudge(instance)
    return instance


@atomic_write()
def resize(*, instance: Instance, by: Actor, instance_type: str, restart: bool = False) -> Instance:
    """Another type: of a stopped instance, or of a running one with `restart`.

    Records: instance.updated. Raises: Invalid, InvalidState, InstanceQuotaExceeded.
    """
    instance = _locked(instance)
    errors: list[FieldError] = []
    sold = _on_sale(InstanceType, "instance_type", "Invalid instance type specified", instance_type, errors)
    if sold is None:
        raise Invalid(errors=errors)
    if instance.state == "running" and not restart:
        raise InvalidState(
            "A running instance is restarted by a resize: stop it first, or send restart: true",
            current=instance.state,
            allowed_from=["stopped"],
        )
    if sold.slug == instance.instance_type:
        return instance
    if sold.disk_gb < instance.disk_gb:
        message = f"A disk cannot shrink: this one has {instance.disk_gb} GB, {sold.slug} has {sold.disk_gb} GB"
        raise Invalid.field("instance_type", message, value=instance_type)
    _charge_quota(instance.account, instances=0, vcpus=sold.vcpus - instance.vcpus)
    now = timezone.now()
    meters = instance.close_meter(now)
    instance.instance_type, instance.vcpus = sold.slug, sold.vcpus
    instance.memory_mb, instance.disk_gb = sold.memory_mb, sold.disk_gb
    instance.hourly_price = Price.objects.at(sold.sku)
    fields = "instance_type vcpus memory_mb disk_gb hourly_price metered_from closed_cost cost_month".split()
    changes = {name: getattr(instance, name) for name in fields}
    return _command(instance, "resizing", by, allowed=VERBS["resize"], meters=meters, **changes)


@atomic_write()
def rebuild(*, instance: Instance, by: Actor, image: str) -> Instance:
    """Throw the disk away and begin again from `image`, at the same address.

    Records: instance.updated. Raises: Invalid, InvalidState.
    """
    instance = _locked(instance)
    errors: list[FieldError] = []
    sold = _on_sale(Image, "image", "Invalid image specified", image, errors)
    if sold is None:
        raise Invalid(errors=errors)
    if instance.protected:
        raise InstanceProtected(
            "The instance is protected: a rebuild would erase its disk. Set protected to false first"
        )
    return _command(instance, "rebuilding", by, desired_state="running", allowed=VERBS["rebuild"], image=sold.slug)


@atomic_write()
def delete(*, instance: Instance, by: Actor) -> Instance:
    """Delete from whatever state it is in. Records: instance.updated. Raises: InstanceProtected."""
    instance = _locked(instance)
    if instance.state == "deleting":
        return instance
    if instance.protected:
        raise InstanceProtected("The instance is protected from deletion. Set protected to false first")
    return _command(instance, "deleting", by, desired_state="deleted", allowed=VERBS["delete"])


# --- System verbs: what a driver found


@atomic_write()
def mark_provisioning(*, instance: Instance) -> Instance:
    """A worker has begun. Raises: StateChanged."""
    LIFECYCLE.advance(instance, "provisioning", next_attempt_at=timezone.now() + NUDGE_PATIENCE)
    return instance


@atomic_write()
def mark_running(*, instance: Instance, observed: Any, os: str = "") -> Instance:
    """It is up.

    Records: instance.created or what was done, and instance.ready once SSH answers. Raises: StateChanged.
    """
    was, now = instance.state, timezone.now()
    meters = [] if instance.metered_from else instance.open_meter(now)
    endpoint = observed.endpoint
    ready = observed.ready or not instance.wants_public_ip  # nothing outside waits for one without an address
    first = instance.first_up_at is None
    LIFECYCLE.advance(
        instance,
        "running",
        **_settled(ready=ready) | ({} if ready else {"next_attempt_at": now + timedelta(seconds=1)}),
        public_ip=endpoint.host if endpoint else None,
        ssh_port=endpoint.port if endpoint else None,
        host_key=endpoint.host_key if endpoint else "",
        boot_id=observed.boot_id,
        os=os or instance.os,
        first_up_at=instance.first_up_at or now,
        started_at=now,
        metered_from=instance.metered_from,
        hourly_price=instance.hourly_price,
    )
    done = {"restarting": "restarted", "resizing": "resized", "rebuilding": "rebuilt"}.get(was, "started")
    kind = "instance.created" if first else f"instance.{done}"
    events.record(kind, account=instance.account, by=SYSTEM, subject=instance, meters=meters)
    if ready:
        events.record("instance.ready", account=instance.account, by=SYSTEM, subject=instance)
    return instance


@atomic_write()
def mark_ready(*, instance: Instance) -> None:
    """SSH answers now. Records: instance.ready, once."""
    waiting = Instance.objects.filter(pk=instance.pk, state="running", generation=instance.generation, ready=False)
    if waiting.update(ready=True, next_attempt_at=None, version=F("version") + 1, updated_at=timezone.now()):
        instance.ready = True
        events.record("instance.ready", account=instance.account, by=SYSTEM, subject=instance)


@atomic_write()
def mark_stopped(*, instance: Instance) -> Instance:
    """It is stopped and costs nothing. Records: instance.stopped or instance.resized. Raises: StateChanged."""
    was, now = instance.state, timezone.now()
    meters = instance.close_meter(now)
    LIFECYCLE.advance(instance, "stopped", **_settled(ready=False), **_meter_fields(instance), stopped_at=now)
    kind = "instance.resized" if was == "resizing" else "instance.stopped"
    events.record(kind, account=instance.account, by=SYSTEM, subject=instance, meters=meters)
    return instance


@atomic_write()
def mark_failed(*, instance: Instance, reason: str) -> Instance:
    """It cannot go on; what it costs ends here. Records: instance.failed. Raises: StateChanged."""
    meters = instance.close_meter(timezone.now())
    LIFECYCLE.advance(instance, "error", **_settled(ready=False, reason=reason), **_meter_fields(instance))
    events.record(
        "instance.failed",
        account=instance.account,
        by=SYSTEM,
        subject=instance,
        data={"reason": reason[:500]},
        meters=meters,
    )
    return instance


@atomic_write()
def mark_deleted(*, instance: Instance) -> None:
    """Nothing of it is left on any machine: the row goes, the log stays.

    Records: instance.deleted. Raises: StateChanged.
    """
    meters = instance.close_meter(timezone.now())
    LIFECYCLE.advance(instance, "deleted")
    Counter.add(instance.account, instance=-1, vcpu=-instance.vcpus)
    events.record("instance.deleted", account=instance.account, by=SYSTEM, subject=instance, meters=meters)
    Instance.objects.filter(pk=instance.pk).delete()


@atomic_write()
def mark_lost(*, instance: Instance) -> None:
    """It runs no longer though it should: start it again, as the user asked for it to run. Raises: StateChanged."""
    reason = "It stopped by itself and is being started again"
    LIFECYCLE.advance(
        instance,
        "starting",
        ready=False,
        status_reason=reason,
        generation=instance.generation + 1,
        next_attempt_at=timezone.now() + NUDGE_PATIENCE,
    )
    events.record("instance.updated", account=instance.account, by=SYSTEM, subject=instance, data={"reason": reason})
    _nudge(instance)


@atomic_write()
def postpone(*, instance: Instance, reason: str) -> None:
    """The attempt failed for now: say why and try again later, ever more slowly. Nothing where the row has moved on."""
    delay, now = min(2**instance.attempts, RETRY_CEILING), timezone.now()
    same = Instance.objects.filter(pk=instance.pk, state=instance.state, generation=instance.generation)
    same.update(
        attempts=instance.attempts + 1,
        status_reason=reason[:500],
        next_attempt_at=now + timedelta(seconds=delay),
        version=F("version") + 1,
        updated_at=now,
    )


@atomic_write()
def take_due(*, now: datetime, limit: int = 200) -> list[Instance]:
    """Rows that nobody works on though they need it, each taken by one sweep only."""
    due = list(Instance.objects.select_for_update(skip_locked=True).due(now).order_by("next_attempt_at")[:limit])
    Instance.objects.filter(pk__in=[row.pk for row in due]).update(next_attempt_at=now + NUDGE_PATIENCE)
    return due


@atomic_write()
def note_node(*, name: str, capabilities: Any) -> Node:
    """What the driver says it can do, for requests to read."""
    fields = "ok tier os limits capacity reason remedy".split()
    facts = {field: getattr(capabilities, field) for field in fields}
    node, _ = Node.objects.update_or_create(name=name, defaults=facts | {"seen_at": timezone.now()})
    known = Node.current()
    if known is None or known.ok != node.ok:
        transaction.on_commit(epoch.advance)
    return node


# --- Inside


def _locked(instance: Instance) -> Instance:
    """The row as it is now, which nobody else changes until this verb has ended.

    Raises InvalidState where it is gone.
    """
    fresh = (
        Instance.objects.for_account(instance.account)
        .select_for_update(of=("self",))
        .select_related("account__plan")
        .filter(pk=instance.pk)
        .first()
    )
    if fresh is None:
        raise InvalidState("The instance is deleted", current="deleted", allowed_from=[])
    return fresh


def _command(
    instance: Instance,
    to: str,
    by: Actor,
    *,
    allowed: list[str],
    meters: Iterable[events.Meter] = (),
    force_stop: bool = False,
    **changes: Any,
) -> Instance:
    """Move a row to the state in which a worker takes it up."""
    if instance.state not in allowed:
        raise InvalidState(
            f"The instance is {instance.state}: this needs it to be {' or '.join(allowed)}",
            current=instance.state,
            allowed_from=allowed,
        )
    LIFECYCLE.advance(
        instance,
        to,
        **changes,
        ready=False,
        generation=instance.generation + 1,
        attempts=0,
        status_reason="",
        next_attempt_at=timezone.now() + NUDGE_PATIENCE,
    )
    events.record("instance.updated", account=instance.account, by=by, subject=instance, meters=meters)
    _nudge(instance, force_stop=force_stop)
    return instance


def _settled(*, ready: bool, reason: str = "") -> dict[str, Any]:
    """What a row has when a worker has nothing left to do with it."""
    return {"ready": ready, "attempts": 0, "status_reason": reason[:500], "next_attempt_at": None}


def _meter_fields(instance: Instance) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in ("metered_from", "closed_cost", "cost_month")}


def _nudge(instance: Instance, *, force_stop: bool = False) -> None:
    events.enqueue("compute.reconcile", instance_id=str(instance.pk), force_stop=force_stop)


def _on_sale(model: Any, field: str, message: str, text: str, errors: list[FieldError]) -> Any:
    """The catalogue's entry of that name; else a complaint that lists what there is."""
    entry = model.objects.named(text)
    if entry is None:
        errors.append(FieldError(field, message, text, list(model.objects.on_sale().values_list("slug", flat=True))))
    return entry


def _keys(account: Account, wanted: Iterable[str], errors: list[FieldError]) -> list[SshKey]:
    wanted = list(dict.fromkeys(wanted))
    if not wanted:
        return []
    mine = SshKey.objects.all_of(account)
    found = []
    for text in wanted:
        matches = [key for key in mine if text == key.public_id] or [key for key in mine if text == key.name]
        if len(matches) == 1:
            found += [key for key in matches if key not in found]  # an id and a name may mean the same key
            continue
        problem = "Several SSH keys are named" if matches else "There is no SSH key"
        allowed = [key.public_id for key in (matches or mine)]
        errors.append(FieldError("ssh_keys", f"{problem} '{text}' in this account", text, allowed))
    return found


def _name_errors(name: str) -> list[FieldError]:
    if 1 <= len(name.strip()) <= 100 and not any(ord(char) < 32 or ord(char) == 127 for char in name):
        return []
    return [FieldError("name", "name must have 1 to 100 characters and no control characters", name)]


def _tag_errors(tags: Mapping[str, Any]) -> list[FieldError]:
    if len(tags) > MAX_TAGS:
        return [FieldError("tags", f"At most {MAX_TAGS} tags are allowed, not {len(tags)}", len(tags))]
    return [
        FieldError(f"tags.{key}", "A tag has a key of 1 to 64 characters and a text of at most 256", value)
        for key, value in tags.items()
        if not 1 <= len(key) <= 64 or not isinstance(value, str) or len(value) > 256
    ]


def _user_data_errors(user_data: str) -> list[FieldError]:
    size = len(user_data.encode())
    if size <= MAX_USER_DATA:
        return []
    return [
        FieldError("user_data", f"user_data may have {MAX_USER_DATA} bytes, this one has {size}", f"({size} bytes)")
    ]


def _charge_quota(account: Account, *, instances: int, vcpus: int) -> None:
    """Take instances and vCPUs from the plan's quotas. Raises InstanceQuotaExceeded, and then nothing is taken."""
    plan = account.plan
    wanted = {"instance": (instances, plan.max_instances, "instances"), "vcpu": (vcpus, plan.max_vcpus, "vCPUs")}
    counts = Counter.add(account, instance=instances, vcpu=vcpus)
    for kind, (requested, limit, words) in wanted.items():
        if requested > 0 and counts[kind] > limit:
            used = counts[kind] - requested
            raise InstanceQuotaExceeded(
                f"The plan {plan.name} allows {limit} {words}: {used} are in use and this needs {requested} more",
                suggestion="Delete what is no longer needed, or change the plan.",
                limit=limit,
                used=used,
                requested=requested,
                quota=words.lower(),
            )


def _usable_node() -> Node | None:
    """The node that instances run on, or None before the first sweep. Raises Unavailable where it cannot run any."""
    node = Node.current()
    if node and not node.ok:
        raise Unavailable(f"Instances cannot run here: {node.reason}", suggestion=node.remedy, retry_after=30)
    return node
