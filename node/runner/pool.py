"""Sandboxes that are ready before anybody needs them: a claim takes 3 ms where making one takes 30."""

import asyncio
import contextlib
import logging

from node import errors
from node.runner.revisions import Code
from node.runner.runtimes import Runtime
from node.runner.sandbox import Sandboxes
from node.runner.worker import Worker

log = logging.getLogger(__name__)

AT_ONCE = 2  # made at the same time: more would only share the same cores
AGAIN_SECONDS = 10.0  # after a failure


class Pool:
    """`claim` hands out a sandbox that nobody has used. Start with `refill`."""

    def __init__(self, maker: Sandboxes, runtimes: list[Runtime], ready: dict[str, int]) -> None:
        self.maker = maker
        self.runtimes = {runtime.name: runtime for runtime in runtimes}
        self.ready: dict[str, list[Worker]] = {name: [] for name in self.runtimes}
        self.wanted = {name: ready[runtime.family] for name, runtime in self.runtimes.items()}
        self.making = asyncio.Semaphore(AT_ONCE)
        self.short = asyncio.Event()
        self.problem: errors.NodeError | None = None  # why none can be made here

    async def claim(self, name: str, code: Code, memory_mb: int) -> Worker:
        """A sandbox of that runtime, for this code. Raises errors.NodeError."""
        runtime = self.runtimes[name]
        if code.contents is None:
            return await self._make(runtime, code, memory_mb)
        self.short.set()
        while self.ready[name]:
            worker = self.ready[name].pop(0)
            if not worker.over:
                return worker
        return await self._make(runtime)

    async def _make(self, runtime: Runtime, code: Code | None = None, memory_mb: int = 128) -> Worker:
        async with self.making:
            try:
                made = await self.maker.make(runtime, code.path if code else None, memory_mb)
            except errors.NodeError as error:
                self.problem = error
                raise
        self.problem = None
        return made

    async def refill(self) -> None:
        """For ever: one at a time, so that calls come first."""
        while True:
            self.short.clear()
            for name, runtime in self.runtimes.items():
                while sum(not worker.over for worker in self.ready[name]) < self.wanted[name]:
                    try:
                        self.ready[name].append(await self._make(runtime))
                    except errors.NodeError as error:
                        log.error("no sandbox for %s: %s", name, error)
                        await asyncio.sleep(AGAIN_SECONDS)
                        break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.short.wait(), AGAIN_SECONDS)
