"""Helpers for asyncio streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a writer after the block and wait for it: else its socket is found open after the end of the event loop.

    Python reports that when it collects garbage, which is usually during an unrelated test.
    """
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
