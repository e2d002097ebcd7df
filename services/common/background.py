"""Background tasks that survive failures."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

T = TypeVar("T")

CANCEL_RETRY = 0.2  # seconds

UNHANDLED = Counter("unhandled_errors_total", "Errors that nothing handles: bugs, with their tracebacks in the log")


def report(_: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
    """Log and count an error that nothing handles; for use as an event loop's exception handler."""
    UNHANDLED.inc()
    log.error("unhandled error", where=str(found.get("message", "")), exc_info=found.get("exception"))


def spawn(
    work: Coroutine[Any, Any, T], *, awaited: bool = False, context: contextvars.Context | None = None
) -> "asyncio.Task[T]":
    """Start a task whose failure is logged as soon as it fails.

    The failure of an `awaited` task is raised where it is awaited; if it is never awaited, the event loop reports it.
    """
    task = asyncio.get_running_loop().create_task(work, context=context)
    if not awaited:
        task.add_done_callback(_report_failure)
    return task


def _report_failure(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        UNHANDLED.inc()
        log.error("unhandled error", where=f"task {task.get_coro()!r}", exc_info=error)


async def run_periodically(what: str, step: Callable[[], Awaitable[None]], every: float) -> None:
    """Run `step` periodically, `every` seconds after it ended. An exception is logged and does not stop it."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("background step failed, going on", what=what)
        await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def background_tasks(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` in tasks during the block, and cancel them on exit.

    A library may swallow a cancellation (redis-py does if it coincides with its own timeout), so tasks are cancelled
    repeatedly until they end.
    """
    pending = {spawn(each) for each in work}
    try:
        yield
    finally:
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_RETRY)
