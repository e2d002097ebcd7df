"""Each of these tests has a log of its own, and leaves no warehouse open."""

import io
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.unit.common.logs import recorded
from tests.unit.order.fake_inventory import Warehouse


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """What the service logs during the test."""
    with recorded() as kept:
        yield kept


@pytest.fixture(autouse=True)
async def closed_warehouses() -> AsyncIterator[None]:
    """Nothing by itself: what the test opened is closed after it."""
    yield
    await Warehouse.close_all()
