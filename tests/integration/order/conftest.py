"""An order database of the test's own, and a pool of connections to it."""

from collections.abc import AsyncIterator

import pytest

from services.common.postgres import Pool, open_pool


@pytest.fixture
async def pool(order_database: str) -> AsyncIterator[Pool]:
    async with open_pool(order_database, name="test", size=8) as opened:
        await opened.wait(10)
        yield opened
