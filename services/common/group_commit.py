"""Group commit: whatever arrived while the last commit was in flight goes into the next one.

No timer and no sleep, so one item alone waits for nobody; under load the batch grows to what the
commit's own duration lets in. The idea is old: DeWitt et al., "Implementation Techniques for Main
Memory Database Systems", SIGMOD 1984.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prometheus_client import Histogram

T = TypeVar("T")
R = TypeVar("R")

BATCH_SIZE = Histogram(
    "group_commit_batch_size",
    "Items that shared one commit",
    ["step"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)


class GroupCommit(Generic[T, R]):
    """Collects items into batches and hands each submitter the result of its own item.

    `flush` takes a batch and returns one result per item, in order. Up to `lanes` flushes run at once.
    When a batch of several fails, each item is tried alone, so that one bad item fails alone; unless the
    failure is one of `outages`, where trying again would only multiply the wait.
    """

    def __init__(
        self,
        step: str,
        flush: Callable[[list[T]], Awaitable[list[R]]],
        *,
        lanes: int = 1,
        limit: int = 256,
        outages: tuple[type[Exception], ...] = (),
    ) -> None:
        self._flush = flush
        self._lanes = lanes
        self._limit = limit
        self._outages = outages
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._size = BATCH_SIZE.labels(step)

    async def submit(self, item: T) -> R:
        """Return the result of `item`, or raise what its flush raised.

        Cancelling the caller does not undo an item whose flush has begun.
        """
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if len(self._running) < self._lanes:
            # A context of its own: a flush works for many requests, and speaks for none of them in the log.
            self._running.add(asyncio.create_task(self._drain(), context=contextvars.Context()))
        return await result

    async def close(self) -> None:
        """Wait until all that was submitted has its result."""
        while self._running:
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        """Flush until nothing waits. Whoever submits after that finds the lane gone and starts one of its own."""
        lane = asyncio.current_task()
        assert lane is not None  # noqa: S101 - a lane is a task
        batch: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while batch := self._take():
                self._size.observe(len(batch))
                await self._settle(batch)
        finally:
            self._running.discard(lane)
            for _, future in batch:  # empty unless the lane was cancelled: then so are those who wait for it
                future.cancel()

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(batch) < self._limit:
            entry = self._waiting.popleft()
            if not entry[1].done():
                batch.append(entry)
        return batch

    async def _settle(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
            answered = list(zip(batch, results, strict=True))
        except Exception as error:  # noqa: BLE001 - handed to the submitters, who know what it means
            if len(batch) == 1 or isinstance(error, self._outages):
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                return
            for entry in batch:
                await self._settle([entry])
            return
        for (_, future), result in answered:
            if not future.done():
                future.set_result(result)
