"""Lookups of outcomes and items in inventory, and its readiness."""

from typing import Any

import aiohttp
import pytest

from services.order import inventory_http
from services.order.domain import Deducted, NoRecord, Outcome, Refused, Unknown
from services.order.inventory_client import NotReadyError
from tests.unit.order.fake_inventory import Fault, Reply, Warehouse, claims, reply
from tests.unit.order.inventory_failures import NO_SUCH_ITEM, SHORT, open_up


@pytest.mark.parametrize(
    ("ledger", "outcome"),
    [
        ({"transactions": [], "refusal": None}, NoRecord()),
        ({"transactions": [{"transaction_type": "deduct"}], "refusal": None}, Deducted(repeated=True)),
        ({"transactions": [{"transaction_type": "release"}], "refusal": None}, NoRecord()),
        ({"transactions": [], "refusal": {"reason": "insufficient-stock"}}, Refused("insufficient-stock")),
        (
            {"transactions": [{"transaction_type": "deduct"}], "refusal": {"reason": "insufficient-stock"}},
            Deducted(repeated=True),
        ),
    ],
)
async def test_a_lookup_returns_the_outcome_in_the_ledger(ledger: dict[str, Any], outcome: Outcome) -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    path = f"/api/inventory/transactions/{claim.order_id}"
    warehouse.responses[path] = reply(200, ledger)
    assert await warehouse.inventory.look_up(claim.order_id) == outcome


@pytest.mark.parametrize(
    "failure",
    [
        Reply(404),
        Reply(401),
        Reply(500),
        Reply(302, headers={"Location": "/api/inventory/elsewhere"}),
        Reply(200, b"garbled"),
        Reply(200, b"{}"),
        Fault.RESET,
        Fault.GARBLED,
        Fault.SILENT,
        Fault.REFUSED,
    ],
)
async def test_an_unclear_lookup_is_unknown_and_never_no_record(
    failure: Reply | Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    if failure is Fault.SILENT:
        monkeypatch.setattr(inventory_http, "LOOKUP_TIMEOUT", SHORT)
    warehouse = Warehouse()
    (claim,) = claims(1)
    warehouse.script(f"/api/inventory/transactions/{claim.order_id}", failure)
    assert isinstance(await warehouse.inventory.look_up(claim.order_id), Unknown)
    assert warehouse.breaker.window.outcomes() == {}


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        (reply(200, {}), False),
        (NO_SUCH_ITEM, True),
        (reply(404, {"type": "urn:valerix:problem:not-found"}), False),
        (reply(404, []), False),
        (Reply(404, b"default backend - 404"), False),
        (Reply(429), False),
        (Reply(500), False),
        (Fault.SILENT, False),
        (Fault.REFUSED, False),
    ],
)
async def test_only_a_404_of_inventory_itself_means_an_unknown_item(
    answer: Reply | Fault, monkeypatch: pytest.MonkeyPatch, *, lacks: bool
) -> None:
    """A 404 of a proxy in front of inventory does not count: a misrouted call must not refuse an order."""
    if answer is Fault.SILENT:
        monkeypatch.setattr(inventory_http, "LOOKUP_TIMEOUT", SHORT)
    warehouse = Warehouse()
    warehouse.script("/api/inventory/ps5", answer)
    assert await warehouse.inventory.is_unknown_item("ps5") is lacks


@pytest.mark.parametrize("answer", [Reply(503), Fault.RESET, Fault.REFUSED])
async def test_a_ping_fails_unless_inventory_is_ready(answer: Reply | Fault) -> None:
    warehouse = Warehouse()
    warehouse.responses["/health/ready"] = Reply(200)
    await warehouse.inventory.ping()
    warehouse.script("/health/ready", answer)
    await warehouse.hang_up()
    with pytest.raises((NotReadyError, aiohttp.ClientError)):
        await warehouse.inventory.ping()


async def test_a_known_item_is_not_looked_up_again() -> None:
    warehouse = Warehouse()
    warehouse.responses["/api/inventory/ps5"] = reply(200, {})
    for _ in range(3):
        assert await warehouse.inventory.is_unknown_item("ps5") is False
    assert len(warehouse.asked) == 1


@pytest.mark.parametrize("how", ["open", "half-open", "forced"])
async def test_no_item_is_looked_up_while_the_breaker_is_open(how: str) -> None:
    warehouse = Warehouse()
    warehouse.responses["/api/inventory/ps5"] = NO_SUCH_ITEM
    if how == "forced":
        warehouse.breaker.force("open")
    else:
        open_up(warehouse.breaker)
        if how == "half-open":
            warehouse.breaker.half_open()
    assert await warehouse.inventory.is_unknown_item("ps5") is False
    assert warehouse.asked == []
