"""Work that a process does beside its requests, and that must outlive any one failure."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def forever(what: str, step: Callable[[], Awaitable[None]], every: float) -> None:
    """Run `step` again and again, `every` seconds after it ended. A bug in it is logged and does not end it."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("background step failed, going on", what=what)
        await asyncio.sleep(every)
