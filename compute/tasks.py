"""Driving machines: `reconcile` brings one instance to the state its row asks for, `sweep` finds what was forgotten.

No transaction is open while a driver is called. A driver may be called twice and converges; its result enters by one
system verb, whose compare-and-set drops it where the row has moved on.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.utils import timezone
from django.utils.text import slugify

from compute.actions import instances
from compute.drivers import open_driver
from compute.drivers.base import Capabilities, Driver, DriverError, InstanceSpec, NotFound, Observed, Retryable
from compute.models import Instance, Node
from core import events
from core.models import Event
from core.states import StateChanged

log = logging.getLogger(__name__)

NODE = "local"
AGENT_PATIENCE = timedelta(seconds=30)  # an agent that restarts is back long before


def driver() -> Driver:
    return open_driver(settings.LAMBDA_DRIVER, settings.LAMBDA_NODE_HOME)


@shared_task(name="compute.reconcile")
def reconcile(*, instance_id: str, force_stop: bool = False, **_) -> None:
    instance = Instance.objects.select_related("account__plan").filter(pk=UUID(instance_id)).first()
    if instance is None:
        return
    try:
        _step(instance, driver(), force_stop=force_stop)
    except StateChanged:
        log.info("%s moved on meanwhile", instance.public_id)
    except Retryable as trouble:
        log.warning("%s: %s; trying again", instance.public_id, trouble)
        instances.postpone(instance=instance, reason=str(trouble))
    except DriverError as trouble:
        with suppress(StateChanged):  # it moved on meanwhile: what failed is no longer wanted
            _fail(instance, str(trouble))


def _step(instance: Instance, machine: Driver, *, force_stop: bool) -> None:
    """One call of the driver and one system verb, by the state the row is in."""
    id, generation = instance.public_id, instance.generation
    if instance.state == "pending":
        instance = instances.mark_provisioning(instance=instance)
    match instance.state:
        case "provisioning":
            _settle(instance, machine.create(_spec(instance)))
        case "starting":
            _settle(instance, _or_create(instance, machine, lambda: machine.start(id, generation=generation)))
        case "stopping":
            grace = 0 if force_stop else 10
            with suppress(NotFound):  # it never came to be: that is stopped enough
                machine.stop(id, generation=generation, grace_seconds=grace)
            instances.mark_stopped(instance=instance)
        case "restarting":
            _settle(instance, _or_create(instance, machine, lambda: machine.restart(id, generation=generation)))
        case "resizing":
            _settle(instance, _or_create(instance, machine, lambda: _resize(instance, machine)))
        case "rebuilding":
            _settle(
                instance,
                _or_create(instance, machine, lambda: machine.rebuild(id, image=instance.image, generation=generation)),
            )
        case "deleting":
            machine.delete(id, generation=generation)
            instances.mark_deleted(instance=instance)
        case "running" if not instance.ready:
            _await_ready(instance, machine.get(id))


def _resize(instance: Instance, machine: Driver) -> Observed:
    sizes = {"vcpus": instance.vcpus, "memory_mb": instance.memory_mb, "disk_gb": instance.disk_gb}
    observed = machine.resize(instance.public_id, **sizes, generation=instance.generation)
    if instance.desired_state == "running":
        return machine.restart(instance.public_id, generation=instance.generation)
    return observed


def _or_create(instance: Instance, machine: Driver, act: Callable[[], Observed]) -> Observed:
    """What failed before it existed is made now."""
    try:
        return act()
    except NotFound:
        return machine.create(_spec(instance))


def _spec(instance: Instance) -> InstanceSpec:
    return InstanceSpec(
        id=instance.public_id,
        hostname=slugify(instance.name)[:60].strip("-") or "instance",
        image=instance.image,
        vcpus=instance.vcpus,
        memory_mb=instance.memory_mb,
        disk_gb=instance.disk_gb,
        ssh_keys=tuple(key["public_key"] for key in instance.ssh_keys),
        user_data=instance.user_data,
        start=instance.desired_state == "running",
        public_ip=instance.wants_public_ip,
        generation=instance.generation,
    )


def _settle(instance: Instance, observed: Observed) -> None:
    if observed.state == "running":
        instances.mark_running(instance=instance, observed=observed)
    elif observed.state == "stopped" and instance.desired_state == "stopped":
        instances.mark_stopped(instance=instance)
    elif observed.state == "error":
        _fail(instance, observed.error or "The machine reports an error")
    else:
        instances.postpone(instance=instance, reason=observed.error or f"The machine is {observed.state}")


def _await_ready(instance: Instance, observed: Observed) -> None:
    if observed.ready:
        instances.mark_ready(instance=instance)
    elif observed.state == "running" or not instance.wants_public_ip:
        instances.postpone(instance=instance, reason="")
    else:
        instances.mark_lost(instance=instance)


def _fail(instance: Instance, reason: str) -> None:
    log.warning("%s failed: %s", instance.public_id, reason)
    try:
        instances.mark_failed(instance=instance, reason=reason)
    except ValueError:  # it is being deleted, which is tried until it is done
        instances.postpone(instance=instance, reason=reason)


@shared_task(name="compute.sweep")
def sweep(**_) -> None:
    """Nudge again what waits too long, and compare what should run with what does."""
    for instance in instances.take_due(now=timezone.now()):
        events.enqueue("compute.reconcile", instance_id=str(instance.pk))
    machine = driver()
    try:
        found = machine.list()  # before the rows are read: a row always comes to be before its machine
        capabilities = machine.probe()
    except DriverError as trouble:
        found, capabilities = (
            None,
            Capabilities(ok=False, reason=str(trouble), remedy="Start it with: python3 manage.py up"),
        )
    _note(capabilities)
    if found is not None:
        with suppress(DriverError):  # it went away meanwhile: the next sweep goes on
            _compare({observed.id: observed for observed in found}, machine)


def _note(capabilities: Capabilities) -> None:
    node = Node.objects.filter(name=NODE).first()
    if node and node.ok and not capabilities.ok and timezone.now() - node.seen_at < AGENT_PATIENCE:
        return
    instances.note_node(name=NODE, capabilities=capabilities)


def _compare(found: dict[str, Observed], machine: Driver) -> None:
    rows = {row.public_id: row for row in Instance.objects.select_related("account").iterator(chunk_size=1000)}
    for id, row in rows.items():
        # Asked again, because the list is older than the rows: what came up in between is not in it.
        if row.state == "running" and _is_down(found.get(id)) and _is_down(machine.get(id)):
            with suppress(StateChanged):
                instances.mark_lost(instance=row)
    for id in found.keys() - rows.keys():
        _remove_orphan(id, machine)


def _is_down(observed: Observed | None) -> bool:
    return observed is None or observed.state in ("absent", "stopped", "error")


def _remove_orphan(id: str, machine: Driver) -> None:
    """Delete a machine whose row is gone, if the log says that it was deleted: a restored backup knows less."""
    try:
        key = Instance.key(id)
    except ValueError:
        log.error("%s is on the node and no instance of ours: left alone", id)
        return
    if Event.objects.filter(subject_id=key, type="instance.deleted").exists():
        log.warning("%s is deleted but was still on the node: removing it", id)
        machine.delete(id, generation=2**31 - 1)
    else:
        log.error("%s is on the node but not in the database: left alone", id)
