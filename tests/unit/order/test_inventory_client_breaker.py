"""Calls to inventory while the breaker is open or on trial, and their end."""

import asyncio

import pytest

from services.order import inventory_client as module
from services.order.breaker import CallNotPermitted
from services.order.domain import Deducted, NotSent, Unknown
from tests.unit.order.fake_inventory import Fault, Reply, Warehouse, claims, together, until
from tests.unit.order.inventory_failures import BUG, DEDUCTIONS, make_happen, open_up


async def test_no_line_is_sent_or_unknown_while_the_breaker_is_open() -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    outcomes = await together(warehouse.inventory.deduct, claims(3))
    assert all(isinstance(outcome, NotSent) and 9 < outcome.retry_in <= 10 for outcome in outcomes)
    assert warehouse.asked == []


async def test_one_line_of_a_batch_is_the_trial_and_the_others_are_deferred() -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    outcomes = await together(warehouse.inventory.deduct, claims(3))
    assert outcomes == [Deducted(repeated=False), *[NotSent("breaker-open", 0.3)] * 2]
    assert len(warehouse.batches) == len(warehouse.batches[0]) == 1
    assert warehouse.breaker.state_name == "closed"


@pytest.mark.parametrize("failure", [Reply(500), Fault.RESET, Fault.REFUSED, BUG])
async def test_the_slot_of_a_trial_is_freed_however_it_ends(
    failure: Reply | Fault | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    make_happen(failure, warehouse, DEDUCTIONS, monkeypatch)
    (claim,) = claims(1)
    assert isinstance(await warehouse.inventory.deduct(claim), Unknown)
    assert warehouse.breaker.state_name == "open"


async def test_a_cancelled_caller_affects_neither_others_nor_the_breaker() -> None:
    warehouse = Warehouse(patient=True)
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    (claim,) = claims(1)
    leaving = asyncio.create_task(warehouse.inventory.deduct(claim))
    await until(lambda: warehouse.batches)
    leaving.cancel()
    await asyncio.wait([leaving])
    with pytest.raises(CallNotPermitted, match="a trial call is in flight"):
        warehouse.breaker.admit()
    warehouse.release(claim)
    await warehouse.inventory.close()
    assert leaving.cancelled()
    assert warehouse.breaker.state_name == "closed"


async def test_closing_waits_for_every_line_in_flight() -> None:
    warehouse = Warehouse(patient=True)
    wanted = claims(3)
    tasks = [asyncio.create_task(warehouse.inventory.deduct(claim)) for claim in wanted]
    await until(lambda: warehouse.batches)
    closing = asyncio.create_task(warehouse.inventory.close())
    warehouse.release(wanted[0])
    await tasks[0]
    assert not closing.done()
    warehouse.release(*wanted)
    await closing
    assert await asyncio.gather(*tasks) == [Deducted(repeated=False)] * 3


async def test_a_cancelled_process_records_nothing_about_inventory() -> None:
    warehouse = Warehouse(patient=True)
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    (claim,) = claims(1)
    deducting = asyncio.create_task(warehouse.inventory.deduct(claim))
    await until(lambda: warehouse.batches)
    for call in list(warehouse.inventory._calls):  # noqa: SLF001 - as the end of the event loop does
        call.cancel()
    assert await deducting == Unknown("cancelled")
    assert warehouse.breaker.window.outcomes() == {}
    warehouse.breaker.admit()


async def test_exhausting_own_connections_is_not_a_failure_of_inventory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two calls may be in flight, and two are."""
    monkeypatch.setattr(module, "MAX_CALLS", 2)
    warehouse = Warehouse(patient=True)
    first, second, third, fourth = claims(4)
    holding = [asyncio.create_task(warehouse.inventory.deduct(first))]
    await until(lambda: len(warehouse.batches) == 1)
    holding.append(asyncio.create_task(warehouse.inventory.deduct(second)))
    await until(lambda: len(warehouse.batches) == 2)
    assert await together(warehouse.inventory.deduct, [third, fourth]) == [NotSent("connections used up", 1.0)] * 2
    assert warehouse.breaker.window.outcomes() == {}
    warehouse.release_all()
    assert await asyncio.gather(*holding) == [Deducted(repeated=False)] * 2
    await warehouse.inventory.close()
    warehouse.release(third)
    assert await warehouse.inventory.deduct(third) == Deducted(repeated=False)


async def test_a_trial_without_a_connection_frees_its_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    monkeypatch.setattr(module, "MAX_CALLS", 0)
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == NotSent("connections used up", 1.0)
    assert warehouse.breaker.state_name == "half-open"
    warehouse.breaker.admit()
