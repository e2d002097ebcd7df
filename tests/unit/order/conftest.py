"""A separate log for each of these tests, and fake inventories that are closed."""

import io
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.unit.common.logs import recorded
from tests.unit.order.fake_inventory import Warehouse


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """The log of the service during the test."""
    with recorded() as kept:
        yield kept


@pytest.fixture(autouse=True)
async def closed_warehouses() -> AsyncIterator[None]:
    """Closes what the test opened."""
    yield
    await Warehouse.close_all()
