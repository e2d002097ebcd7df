"""Work that a process does beside its requests, and that must outlive any one failure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()

ASK_AGAIN = 0.2  # seconds


async def forever(what: str, step: Callable[[], Awaitable[None]], every: float) -> None:
    """Run `step` again and again, `every` seconds after it ended. A bug in it is logged and does not end it."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("background step failed, going on", what=what)
        await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do `work` beside what happens in the block, and end it on leaving.

    A library may swallow a cancellation (redis-py does, when it comes as its own time limit ends), so each is asked
    to end until it has.
    """
    pending = {asyncio.create_task(each) for each in work}
    try:
        yield
    finally:
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=ASK_AGAIN)
