"""A load against the real services: its counts match the stored orders."""

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.shop import Shop
from tests.processes import OPERATOR_TOKEN, Processes, eventually
from valerix_cli.audit import Sources, audit
from valerix_cli.gates import parse
from valerix_cli.journal import JournalReader, JournalWriter, ResponseReceived
from valerix_cli.load import LoadGenerator, LoadResult, Plan
from valerix_cli.load.model import METRICS

_loads = itertools.count(1)
HEADERS = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@pytest.fixture
def shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    patient = {"INVENTORY_TIMEOUT_SECONDS": "20", "LEASE_SECONDS": "30"}  # no order is queued on a busy machine
    shop = Shop(services, order_database, inventory_database, orders=2, **patient)
    for item in ("ps5", "xbox"):
        shop.stock(item, 100_000)
    services.start(*shop.everyone)
    return shop


def plan(**fields: Any) -> Plan:
    fields = {"rate": None, "clients": None, "seconds": 1.0, "items": ["ps5", "xbox"], "mix": "uniform", **fields}
    return Plan(seed=1, key_prefix=f"load-{next(_loads)}-", **fields)


async def run(shop: Shop, load_plan: Plan, *require: str, journal: JournalWriter | None = None) -> LoadResult:
    gates = [parse(text, METRICS) for text in require]
    return await LoadGenerator(
        load_plan, [order.url for order in shop.orders], HEADERS, gates=gates, journal=journal
    ).run()


async def test_a_rate_is_kept_and_each_order_is_placed_once(shop: Shop) -> None:
    result = await run(shop, plan(rate=60.0), "error_rate < 1%", "p95 < 30s", "throughput > 20/s", "p999 < 30s")
    assert (result.orders, result.requests, result.outcomes) == (60, 60, {"confirmed": 60})
    assert [check.held for check in result.checks] == [True, True, True, None], "sixty are too few for a p999"
    assert result.latency.p50 is not None
    assert result.latency.max is not None
    assert 0 < result.latency.p50 <= result.latency.max
    assert len(shop.statuses()) == 60
    shop.assert_exactly_one_effect()


async def until_some_are_sent(load: LoadGenerator) -> None:
    await asyncio.to_thread(eventually, lambda: load.progress().orders, what="orders are answered")


async def test_overdue_orders_are_sent_after_a_load_is_finished(shop: Shop) -> None:
    load = LoadGenerator(plan(rate=100.0, seconds=1.0), [order.url for order in shop.orders], HEADERS)
    running = asyncio.create_task(load.run())
    await until_some_are_sent(load)
    time.sleep(load.plan.seconds)  # noqa: ASYNC251 - the machine is busy, until after the last order is due
    load.finish()
    assert (await running).orders == 100


async def test_orders_due_after_a_load_is_finished_are_not_sent(shop: Shop) -> None:
    load = LoadGenerator(plan(rate=20.0, seconds=30.0), [order.url for order in shop.orders], HEADERS)
    running = asyncio.create_task(load.run())
    await until_some_are_sent(load)
    load.finish()
    assert 0 < (await running).orders < 100


async def test_repeated_keys_do_not_create_second_orders(shop: Shop) -> None:
    result = await run(shop, plan(clients=8, repeats=0.4, retries=3))
    orders = len(shop.statuses())
    assert result.orders > orders > 0
    assert result.replayed > 0
    assert set(result.outcomes) == {"confirmed"}
    shop.assert_exactly_one_effect()


async def test_a_journal_of_a_load_has_every_response_and_passes_the_audit(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "load.jsonl"
    load_plan = plan(clients=16, repeats=0.2, retries=3)
    with JournalWriter(path, "load", load_plan.key_prefix) as journal:
        result = await run(shop, load_plan, journal=journal)
    responses = [entry for entry in JournalReader(path).entries() if isinstance(entry, ResponseReceived)]
    assert len(responses) == result.requests
    shop.wait_settled()
    found = audit(Sources(shop.order_database, shop.inventory_database), path)
    assert found.verdict == "clean"
    assert found.compared.journal_keys == len(shop.statuses())


async def test_a_journal_that_cannot_be_written_ends_the_load(shop: Shop, tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "load.jsonl", "load")
    journal.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await run(shop, plan(clients=4), journal=journal)
    assert shop.statuses() == {}, "a request is written to the journal before it is sent"


async def test_refusals_are_responses_and_an_unreachable_service_is_an_error(shop: Shop) -> None:
    shop.stock("rare", 3)
    refused = await run(shop, plan(rate=20.0, items=["rare"]))
    assert refused.outcomes == {"insufficient-stock": 17, "confirmed": 3}
    assert refused.error_rate == 0
    for order in shop.orders:
        order.kill()
    gone = await run(shop, plan(rate=20.0, retries=1), "error_rate < 10%")
    assert gone.outcomes == {"connection-refused": 20}
    assert (gone.error_rate, gone.retried, gone.checks[0].held) == (1.0, 20, False)


async def test_a_load_sends_every_order_to_the_remaining_replica(shop: Shop) -> None:
    shop.orders[1].kill()
    result = await run(shop, plan(rate=20.0))
    assert result.outcomes == {"confirmed": 20}
    assert len(shop.statuses()) == 20


async def test_a_stopped_load_counts_orders_in_flight(shop: Shop) -> None:
    load = LoadGenerator(plan(rate=50.0, seconds=600.0), [shop.order.url], HEADERS)
    running = asyncio.create_task(load.run())
    await asyncio.to_thread(eventually, lambda: load.progress().orders >= 10, 20)
    load.stop()
    result = await running
    assert result.interrupted
    assert result.orders == len(shop.statuses())
    assert 10 <= result.orders < 600
