"""Failures of inventory that tests of its client share."""

from typing import Any

import aiohttp
import pytest

from services.order.breaker import Breaker
from tests.unit.order.fake_inventory import Fault, Reply, Warehouse, reply

DEDUCTIONS = "/api/inventory/deductions"
NO_SUCH_ITEM = reply(404, {"type": "urn:valerix:problem:item-not-found"})
SHORT = 0.1  # seconds: the timeout of calls without a response
BUG = RuntimeError("a bug of the client library")


def make_happen(failure: Reply | Fault | Exception, warehouse: Warehouse, path: str, patch: pytest.MonkeyPatch) -> None:
    """Make requests to `path` fail in this way."""
    if isinstance(failure, Exception):

        def fail(*_: Any, **__: Any) -> None:
            raise failure

        patch.setattr(aiohttp.ClientSession, "post", fail)
    else:
        warehouse.script(path, failure)


def open_up(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.admit().fail("timeout")
    assert breaker.state_name == "open"
