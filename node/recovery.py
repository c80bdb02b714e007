"""What an agent does when it begins: take over what lives, start what should, finish what was cut off."""

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from node import errors
from node.instance import Instance
from node.records import Directory

if TYPE_CHECKING:
    from node.fleet import Fleet

log = logging.getLogger(__name__)

AT_ONCE = 8  # starts at the same time


def begin(fleet: "Fleet") -> None:
    """Read the disk and set about making it so; verbs may come at once, they wait for their instance."""
    limit = asyncio.Semaphore(AT_ONCE)
    for path in sorted(fleet.home.instances.iterdir()):
        directory = Directory(path)
        try:
            fleet.instances[path.name] = Instance(fleet, directory, directory.load())
        except (OSError, ValueError, TypeError) as error:
            if directory.spec.exists():
                fleet.broken[path.name] = f"The instance's record on the node is damaged: {error}."
                log.error("%s cannot be read: %s", path.name, error)
            else:
                fleet.home.to_trash(path)  # cut off before its first word: it was never created
    for instance in fleet.instances.values():
        fleet.spawn(recover(fleet, instance, limit))
    fleet.spawn(tidy(fleet))


async def recover(fleet: "Fleet", instance: Instance, limit: asyncio.Semaphore) -> None:
    """Bring one instance to what its record says."""
    spec = instance.spec
    async with fleet.turn(spec.id), limit:
        try:
            if fleet.home.tombstone(spec.id):
                await fleet.finish_delete(instance)
            elif spec.running:
                instance.busy = "starting"
                await instance.start()
            else:
                instance.load_host_key()
                if (lock := instance.directory.try_lock()) is None:
                    await instance.start()  # asked to stop, and the agent died before it did
                    await instance.stop(0)
                else:
                    os.close(lock)
        except (errors.NodeError, OSError) as error:
            log.error("%s could not be brought back: %s", spec.id, error)
        finally:
            instance.busy = ""


async def tidy(fleet: "Fleet") -> None:
    """Remove what is in the trash, and what no instance stands on any more."""
    home = fleet.home
    with contextlib.suppress(errors.NodeError):
        current = await fleet.base_image()
        used = {current} | {instance.spec.base for instance in fleet.instances.values()}
        for path in home.images.iterdir():
            if path.name not in used and not path.name.startswith("."):
                home.to_trash(path)
    for instance in fleet.instances.values():
        for disk in instance.directory.old_disks(instance.spec.disk):
            home.to_trash(disk)
    trash = list(home.trash.iterdir())
    if trash:
        with contextlib.suppress(OSError, errors.NodeError):
            await fleet.spawner.remove(trash)
