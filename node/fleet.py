"""The verbs on instances: create, start, stop, restart, resize, rebuild, delete, get, list, console.

Each verb takes its turn per instance, refuses what is older than what was already asked, writes what is wished to disk
and only then makes it so. Whatever kills the agent in between, `recover` goes on from the disk.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

from node import admission, cgroups, errors, image, probe, sandbox, seccomp
from node.instance import Instance
from node.records import Home, Spec
from node.spawner import Spawner

log = logging.getLogger(__name__)

CONSOLE_SECONDS = 5
EXIT_GRACE = 3.0  # seconds that instances get to end when the agent takes them with it
CHANGEABLE = {"generation", "start", "hostname"}  # of a specification, without it being another one


class Fleet:
    """All instances of one home."""

    def __init__(self, home: Home, memory_mb: int | None = None) -> None:
        self.home = home
        self.memory_mb = memory_mb
        self.cgroups = cgroups.Cgroups(home.path)
        self.spawner = Spawner()
        self.sftp_spawner = Spawner(sftp=True)
        self.sandbox = sandbox.Sandbox(self.spawner, sandbox.choose_tier(home.path / "uid-base"))
        self.seccomp = seccomp.program_fd()
        self.devnull = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.instances: dict[str, Instance] = {}
        self.broken: dict[str, str] = {}
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._image: asyncio.Task | None = None
        self._tasks: set[asyncio.Task] = set()

    async def close(self, stop_instances: bool) -> None:
        """Stop answering; with `stop_instances` end them too, to be started again by the next agent."""
        for task in self._tasks:
            task.cancel()
        if stop_instances:
            await asyncio.gather(*(self._end(instance) for instance in self.instances.values()), return_exceptions=True)
        for instance in self.instances.values():
            instance.close()
        self.spawner.close()
        self.sftp_spawner.close()
        if stop_instances:
            self.cgroups.close()

    async def _end(self, instance: Instance) -> None:
        async with self.turn(instance.spec.id):
            instance.busy = "stopping"
            await instance.stop(EXIT_GRACE)

    def spawn(self, work) -> None:
        """Run a coroutine beside the verbs, held until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def base_image(self) -> asyncio.Future:
        """The image directory's name, being built if need be. Raises errors.Unsupported; asked again, tries again."""
        if self._image is None or (self._image.done() and self._image.exception()):

            async def build() -> str:
                return (await asyncio.to_thread(image.build, self.home.images, self.sandbox.tier.base)).name

            self._image = asyncio.ensure_future(build())
        return asyncio.shield(self._image)

    # What instances need from here

    def make_groups(self, spec: Spec) -> list[Path]:
        wanted = cgroups.settings(spec.vcpus, spec.memory_mb, sandbox.PROCESSES)
        try:
            return self.cgroups.create(spec.id, wanted)
        except OSError as error:
            raise errors.Retryable(f"The instance's limits could not be set: {error.strerror}.") from None

    def went_down(self, instance: Instance, groups: list[Path]) -> None:
        """An instance ended by itself: it was shut down from inside, so it stays down until somebody starts it."""

        async def note() -> None:
            async with self.turn(instance.spec.id):
                if instance.running or self.instances.get(instance.spec.id) is not instance:
                    return
                await instance.settle(groups)
                instance.spec.running = False
                instance.directory.save(instance.spec)

        self.spawn(note())

    @contextlib.asynccontextmanager
    async def turn(self, instance_id: str) -> AsyncIterator[None]:
        lock = self._turns.setdefault(instance_id, asyncio.Lock())
        async with lock:
            yield

    @contextlib.asynccontextmanager
    async def _operation(self, instance_id: str, generation: int, busy: str) -> AsyncIterator[Instance]:
        """The instance, for one operation: fenced, alone, and shown as `busy` meanwhile."""
        async with self.turn(instance_id):
            instance = self._find(instance_id)
            self._fence(instance, generation)
            instance.spec.generation = generation
            instance.busy = busy
            try:
                yield instance
            finally:
                instance.busy = ""

    def _find(self, instance_id: str) -> Instance:
        if instance_id in self.broken:
            raise errors.Fatal(self.broken[instance_id])
        if instance_id not in self.instances:
            raise errors.NotFound(f"There is no instance {instance_id} on this node.")
        return self.instances[instance_id]

    def _fence(self, instance: Instance, generation: int) -> None:
        if generation < instance.spec.generation:
            raise errors.Conflict(
                f"The operation has generation {generation}, but {instance.spec.generation} was already carried out."
            )

    # Verbs

    async def create(self, spec: dict) -> dict:
        """Make an instance and, if it is to, run it. The same again answers what is there."""
        check_names(spec["id"], spec["hostname"])
        wished = {key: value for key, value in spec.items() if key not in CHANGEABLE}
        digest = hashlib.sha256(json.dumps(wished, sort_keys=True).encode()).hexdigest()
        async with self.turn(spec["id"]):
            instance = self.instances.get(spec["id"])
            if instance is None:
                instance = await self._prepare(
                    Spec(**spec, digest=digest, running=spec["start"], disk=spec["generation"])
                )
            elif instance.spec.digest != digest:
                raise errors.Conflict(f"The instance {spec['id']} exists with another specification.")
            self._fence(instance, spec["generation"])
            instance.busy = "creating"
            try:
                if instance.spec.running:
                    bound = instance.reserve() if spec["public_ip"] and not instance.running else None
                    if not instance.directory.spec.exists():
                        instance.directory.save(instance.spec)
                    await instance.start(bound)
                elif not instance.directory.spec.exists():
                    if spec["public_ip"]:
                        instance.reserve().close()
                    instance.directory.save(instance.spec)
                instance.load_host_key()
            finally:
                instance.busy = ""
            return instance.observe()

    async def _prepare(self, spec: Spec) -> Instance:
        if spec.id in self.broken:
            raise errors.Fatal(self.broken[spec.id])
        if self.home.tombstone(spec.id) >= spec.generation:
            raise errors.Conflict(f"The instance {spec.id} was deleted.")
        admission.admit(self.home, self.memory_mb)
        spec.base = await self.base_image()
        spec.address = admission.choose_address(spec.id, {other.spec.address for other in self.instances.values()})
        directory = self.home.directory(spec.id)
        directory.path.mkdir(mode=0o700, exist_ok=True)
        instance = self.instances[spec.id] = Instance(self, directory, spec)
        return instance

    async def start(self, id: str, generation: int) -> dict:
        async with self._operation(id, generation, "starting") as instance:
            if not instance.running:
                admission.admit(self.home, self.memory_mb)
            instance.spec.running = True
            instance.directory.save(instance.spec)
            await instance.start()
        return instance.observe()

    async def stop(self, id: str, generation: int, grace_seconds: float) -> dict:
        waiting = self.instances.get(id)
        if grace_seconds <= 0 and waiting and waiting.busy == "stopping" and generation >= waiting.spec.generation:
            waiting.kill()  # a forced stop does not wait for the polite one before it
        async with self._operation(id, generation, "stopping") as instance:
            instance.spec.running = False
            instance.directory.save(instance.spec)
            await instance.stop(grace_seconds)
        return instance.observe()

    async def restart(self, id: str, generation: int, grace_seconds: float = 5) -> dict:
        async with self._operation(id, generation, "starting") as instance:
            spec = instance.spec
            again = spec.restarted == generation
            if not again:
                await instance.stop(grace_seconds)
            spec.restarted, spec.running = generation, True
            instance.directory.save(spec)
            await instance.start()
        return instance.observe()

    async def resize(self, id: str, generation: int, vcpus: int, memory_mb: int, disk_gb: int) -> dict:
        """New limits at once where cgroups hold them, but for memory in use; elsewhere from the next login or start."""
        async with self._operation(id, generation, "") as instance:
            spec = instance.spec
            spec.vcpus, spec.memory_mb, spec.disk_gb = vcpus, memory_mb, disk_gb
            instance.directory.save(spec)
            if instance.running:
                wanted = cgroups.settings(vcpus, memory_mb, sandbox.PROCESSES)
                try:
                    cgroups.apply(instance.running.groups, wanted)
                except OSError as error:
                    log.warning("%s gets its new limits at its next start: %s", id, error.strerror)
        return instance.observe()

    async def rebuild(self, id: str, generation: int, image: str) -> dict:
        """A fresh disk from today's image, then a start. The old disk goes only once the new one is on record."""
        async with self._operation(id, generation, "starting") as instance:
            spec = instance.spec
            if spec.disk != generation:
                base = await self.base_image()
                await instance.stop(0)
                spec.base, spec.image, spec.disk = base, image, generation
            spec.running = True
            instance.directory.save(spec)
            old = [self.home.to_trash(disk) for disk in instance.directory.old_disks(spec.disk)]
            await instance.start()
            if old:
                await self.spawner.remove(old)
        return instance.observe()

    async def delete(self, id: str, generation: int) -> None:
        check_names(id, "x")
        async with self.turn(id):
            instance = self.instances.get(id)
            if instance is not None:
                self._fence(instance, generation)
            if self.home.tombstone(id) < generation:
                self.home.bury(id, generation)
            if instance is not None:
                instance.busy = "deleting"
                await self.finish_delete(instance)
            elif self.broken.pop(id, None):
                await self.spawner.remove([self.home.to_trash(self.home.instances / id)])

    async def finish_delete(self, instance: Instance) -> None:
        if instance.directory.try_lock() is None and not instance.running:
            with contextlib.suppress(errors.NodeError):
                await instance.start()
        await instance.stop(0)
        grave = self.home.to_trash(instance.directory.path)
        self.instances.pop(instance.spec.id, None)
        log.info("%s deleted", instance.spec.id)
        await self.spawner.remove([grave])

    async def get(self, id: str) -> dict:
        if id in self.broken:
            return {"id": id, "state": "error", "error": self.broken[id]}
        return self.instances[id].observe() if id in self.instances else {"id": id, "state": "absent"}

    async def list(self) -> list[dict]:
        return [await self.get(instance_id) for instance_id in sorted({*self.instances, *self.broken})]

    async def console(self, id: str, max_bytes: int) -> str:
        """The newest bytes, as Latin-1 text, which carries any byte through JSON."""
        file = self._find(id).directory.console
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - max(0, max_bytes)))
            return opened.read().decode("latin-1")
        return ""

    async def trim_consoles(self) -> None:
        """Keep the consoles from filling the disk, for as long as the agent runs."""
        while True:
            await asyncio.sleep(CONSOLE_SECONDS)
            for instance in self.instances.values():
                if instance.running:
                    instance.directory.trim_console()

    async def probe(self) -> dict:
        return await probe.run(self)


def check_names(instance_id: str, hostname: str) -> None:
    """Ids become file names and host names go into files: nothing else than letters, digits and dashes."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", instance_id):
        raise errors.Fatal(f"The id {instance_id!r} is not made of lower-case letters, digits, - and _.")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", hostname):
        raise errors.Fatal(f"The host name {hostname!r} is not made of letters, digits, dots and dashes, at most 63.")
