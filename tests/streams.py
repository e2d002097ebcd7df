"""Connections of asyncio's streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close it on leaving, and wait for that: else its socket is found open once the event loop has ended.

    Python says so whenever it collects garbage, so most often in a test that has nothing to do with it.
    """
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
