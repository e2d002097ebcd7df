"""Group commit: items that arrive while a commit is in flight are committed together by the next one.

There is no timer, so a single item does not wait. Under load a batch has the items that arrived during the last
commit, and those that each further iteration of the event loop adds. Source: DeWitt et al., "Implementation
Techniques for Main Memory Database Systems", SIGMOD 1984.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import structlog
from prometheus_client import Histogram

from services.common import request_context, tracing
from services.common.background import spawn

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R")
_Entry: TypeAlias = tuple[T, asyncio.Future[R], str | None]
"""An item, its result, and the trace that it is part of."""

BATCH_SIZE = Histogram(
    "group_commit_batch_size",
    "Items that shared one commit",
    ["step"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)

MAX_BATCH = 128
"""Maximum batch size. Callers released together return together; two alternating batches use the CPU better than one
twice as large."""

TIMEOUT_CHECKS = 10
"""Timeout checks per timeout period."""


class BatchResult(msgspec.Struct, Generic[R], frozen=True):
    """The results of a batch, which are delivered at once, and an awaitable that delays the next batch."""

    results: list[R]
    free: Awaitable[object]


class GroupCommit(Generic[T, R]):
    """Collects items into batches and hands each submitter its item's result.

    `flush` takes a batch and returns one result per item, in order. Up to `max_in_flight` flushes run at once.
    When a batch of several fails, each item is tried alone, so that one bad item fails alone; unless the
    failure is one of `outages`, where a retry would only multiply the wait. A result that takes longer than
    `timeout` seconds becomes a TimeoutError; its item may still be flushed.
    """

    def __init__(
        self,
        step: str,
        flush: Callable[[list[T]], Awaitable[list[R] | BatchResult[R]]],
        *,
        max_in_flight: int = 1,
        limit: int = MAX_BATCH,
        outages: tuple[type[Exception], ...] = (),
        timeout: float | None = None,
    ) -> None:
        self._flush = flush
        self._max_in_flight = max_in_flight
        self._limit = limit
        self._outages = outages
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None  # cached, because `get_running_loop` is a system call
        self._deadlines: deque[tuple[float, asyncio.Future[R]]] = deque()  # of recent items, oldest first
        self._next_check: asyncio.TimerHandle | None = None
        self._waiting: deque[_Entry[T, R]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._step = step
        self._size = BATCH_SIZE.labels(step)

    def submit(self, item: T) -> "asyncio.Future[R]":
        """Return the future result of `item`, or its flush's exception.

        Cancelling it does not undo an item whose flush has started.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, result, request_context.traceparent.get() if tracing.is_on() else None))
        if self._timeout is not None:
            self._deadlines.append((loop.time() + self._timeout, result))
            if self._next_check is None:
                self._expire(self._timeout)
        if len(self._running) < self._max_in_flight:
            # An empty context: a flush serves many requests, so its log lines carry no request id.
            self._running.add(spawn(self._drain(), context=contextvars.Context()))
        return result

    async def close(self) -> None:
        """Wait until all submitted items have a result."""
        while self._running:
            await asyncio.wait(self._running)

    def _expire(self, timeout: float) -> None:
        """Fail the items that have waited too long, and check again while any wait.

        One timer serves all items; a timer for each would cost more than the rest of this class.
        """
        loop, self._next_check = asyncio.get_running_loop(), None
        now = loop.time()
        while self._deadlines:
            deadline, result = self._deadlines[0]
            if not result.done():
                if deadline > now:
                    check_at = min(deadline, now + timeout / TIMEOUT_CHECKS)
                    self._next_check = loop.call_at(check_at, self._expire, timeout)
                    return
                _fail(result, TimeoutError())
            self._deadlines.popleft()

    async def _drain(self) -> None:
        """Flush until no item waits. The next item submitted after that starts a new task."""
        lane = asyncio.current_task()
        assert lane is not None  # noqa: S101 - a lane is a task # nosec B101
        batch: list[_Entry[T, R]] = []
        try:
            while batch := await self._collect():
                self._size.observe(len(batch))
                if tracing.is_on():
                    await self._settle_traced(batch)
                else:
                    await self._settle(batch)
        finally:
            self._running.discard(lane)
            for _, future, _ in batch:  # empty unless the task was cancelled: then its submitters are, too
                future.cancel()

    async def _collect(self) -> list[_Entry[T, R]]:
        """Take the waiting items, once an iteration of the event loop has added none.

        Callers that got results together submit again together, but over several iterations; a batch costs as much as
        many items.
        """
        count = 0
        while count < len(self._waiting) < self._limit:
            count = len(self._waiting)
            await asyncio.sleep(0)
        return self._pop_batch()

    def _pop_batch(self) -> list[_Entry[T, R]]:
        batch: list[_Entry[T, R]] = []
        while self._waiting and len(batch) < self._limit:
            entry = self._waiting.popleft()
            if not entry[1].done():
                batch.append(entry)
        return batch

    async def _settle_traced(self, batch: list[_Entry[T, R]]) -> None:
        """Settle a batch in a span, which continues the trace of the first item and links those of the others."""
        with tracing.span(f"batch {self._step}", "internal", (trace for _, _, trace in batch)) as span:
            if span is not None:
                span.set_attributes(valerix__batch_size=len(batch))
            await self._settle(batch)

    async def _settle(self, batch: list[_Entry[T, R]]) -> None:
        try:
            flushed = await self._flush([item for item, _, _ in batch])
            results = flushed.results if isinstance(flushed, BatchResult) else flushed
            answered = list(zip(batch, results, strict=True))
        except Exception as error:
            if len(batch) == 1 or isinstance(error, self._outages):
                if not isinstance(error, self._outages):
                    log.exception("a batch failed", step=self._step)
                for _, future, _ in batch:
                    if not future.done():
                        _fail(future, error)
                return
            for entry in batch:
                await self._settle([entry])
            return
        for (_, future, _), result in answered:
            if not future.done():
                future.set_result(result)
        if isinstance(flushed, BatchResult):
            await flushed.free


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    """Set an item's exception, retrieved, since its submitter may have left: failures are logged with the batch."""
    future.set_exception(error)
    future.exception()
