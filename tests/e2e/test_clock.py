"""The database's clock changes while orders arrive: every order ends in time, and the audit reports no violation."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.common.postgres import migrate
from tests.clocks import ClockedPostgres, needs_faketime
from tests.conftest import PASSWORD, Databases
from tests.e2e.shop import Shop
from tests.processes import eventually, open_directory, processes
from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.local.servers import running

pytestmark = needs_faketime

DAY = 86_400.0
SETTLE_LIMIT = 60.0
LEASE = 2.0
SETTINGS = {"LEASE_SECONDS": str(LEASE), "INVENTORY_TIMEOUT_SECONDS": "1", "BREAKER_OPEN_SECONDS": "1"}
ENDS_WITHIN = 15.0  # seconds: a lease, a back-off of at most 8 s, and the delays of a busy machine


@pytest.fixture(scope="module")
def postgres() -> Iterator[ClockedPostgres]:
    with open_directory("clock") as place:
        server = ClockedPostgres.at(place, password=PASSWORD, fsync=False)
        with running(server, log=place / "log") as started:
            databases = Databases(started)
            for service in ("order", "inventory"):
                migrate(databases.make(f"{service}_template"), f"services.{service}")
            yield started


@pytest.fixture
def shop(postgres: ClockedPostgres, tmp_path: Path, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A platform that loses some responses, so that orders are queued; the clock is correct at first."""
    postgres.set_clock(0)
    databases, name = Databases(postgres), str(abs(hash(request.node.name)))
    urls = [databases.make(f"{service}_{name}", f"{service}_template") for service in ("order", "inventory")]
    with processes(tmp_path, urls[0], urls[1], redis_url) as services:
        shop = Shop(services, urls[0], urls[1], orders=1, **SETTINGS)
        shop.stock("ps5", 1_000_000)
        services.start(*shop.everyone)
        shop.chaos(partial_failure_rate=0.3, seed=1, ttl_seconds=120)
        yield shop
    for service in ("order", "inventory"):
        databases.drop(f"{service}_{name}")


@contextmanager
def customers(shop: Shop, count: int = 8) -> Iterator[list[str]]:
    """Place orders during the block; yields the ids of acknowledged orders."""
    acknowledged: list[str] = []
    enough = threading.Event()

    def buy() -> None:
        while not enough.is_set():
            answer = shop.place()
            if answer.is_success:
                acknowledged.append(answer.json()["order_id"])

    with ThreadPoolExecutor(count) as pool:
        buying = [pool.submit(buy) for _ in range(count)]
        try:
            yield acknowledged
        finally:
            enough.set()
    for one in buying:
        one.result()


def audited(shop: Shop) -> Audit:
    return audit(Sources(shop.order_database, shop.inventory_database), settle_limit=SETTLE_LIMIT)


@pytest.mark.long
@pytest.mark.timed
@pytest.mark.parametrize(
    ("ahead", "then"),
    [(DAY, 0.0), (-DAY, 0.0), (120.0, 0.0), (10.0, 0.0), (0.0, -DAY), (0.0, -120.0), (DAY, -DAY)],
    ids=lambda seconds: f"{seconds:+g}s",
)
def test_a_clock_changed_under_load_delays_no_order(
    shop: Shop, postgres: ClockedPostgres, ahead: float, then: float
) -> None:
    with customers(shop) as acknowledged:
        eventually(lambda: len(acknowledged) > 20, 20)
        postgres.set_clock(ahead)
        time.sleep(6)
        postgres.set_clock(then)
        count = len(acknowledged)
        eventually(lambda: len(acknowledged) > count + 20, 20)
    shop.calm()
    statuses = shop.wait_settled(ENDS_WITHIN)
    assert {str(order_id) for order_id in statuses} >= set(acknowledged)
    shop.assert_exactly_one_effect()
    found = audited(shop)
    assert [(one.name, one.examples) for one in found.invariants if one.broken] == []
    assert found.verdict == "clean"
    assert len(acknowledged) > 60


@pytest.mark.timed
def test_an_order_queued_while_the_clock_was_a_day_fast_settles_within_seconds_of_its_reset(
    shop: Shop, postgres: ClockedPostgres
) -> None:
    """It is not tried before the clock is reset: neither by its request nor by a worker."""
    shop.worker.stop()
    shop.inventory.stop()
    postgres.set_clock(DAY)
    order_id = shop.place().json()["order_id"]
    postgres.set_clock(0)
    for _ in range(3):
        queue = shop.operator.get(f"{shop.order.url}/api/admin/queue").json()
        assert 0 <= queue["oldest_age_seconds"] < DAY
    assert shop.get(order_id)["status"] == "queued"
    shop.services.start(shop.inventory, shop.worker)
    assert set(shop.wait_settled(ENDS_WITHIN).values()) == {"confirmed"}
    events = shop.client.get(f"{shop.order.url}/api/orders/{order_id}/events").json()["events"]
    assert "clock-set-back" in [event["detail"].get("cause") for event in events]
    assert audited(shop).verdict == "clean"
