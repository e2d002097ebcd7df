"""Inventory while a dependency is unavailable, and when its process is killed in the middle of a request."""

import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from services.common.postgres import migrate, open_pool
from services.inventory import usecases
from services.inventory.domain import Deducted, Line
from tests.integration.inventory.service import Inventory, add_item, line
from tests.machine_load import slowdown
from tests.processes import OPERATOR, Processes, eventually, processes
from valerix_cli.local.servers import PostgresServer, ValkeyServer, running

PASSWORD = "only-for-this-test"


@contextmanager
def one_replica(logs: Path, database: str, redis_url: str) -> Iterator[Inventory]:
    with processes(logs, database, database, redis_url) as services:
        replica = services.inventory()
        services.start(replica)
        with Inventory(database, redis_url, [replica]) as warehouse:
            yield warehouse


def test_inventory_fails_fast_without_its_database_and_recovers(scratch: Path, tmp_path: Path, redis_url: str) -> None:
    directory = scratch / "outage"
    directory.mkdir()
    with ExitStack() as stack:
        with running(PostgresServer.at(directory, password=PASSWORD, fsync=False)) as postgres:
            url = postgres.url("postgres")
            migrate(url, "services.inventory")
            item = add_item(url, 100)
            warehouse = stack.enter_context(one_replica(tmp_path, url, redis_url))
            assert warehouse.deduct(line(item)).status_code == 200
        for _ in range(3):
            began = time.monotonic()
            response = warehouse.deduct(line(item))
            assert (response.status_code, response.json()["type"]) == (503, "urn:valerix:problem:database-unavailable")
            assert "retry-after" in response.headers
            assert time.monotonic() - began < 3 * slowdown()
        lines = [line(item) for _ in range(5)]
        answers = warehouse.deduct_many(lines).values()
        assert [(each["status"], each["reason"]) for each in answers] == [(503, "database-unavailable")] * 5
        assert warehouse.http.get(f"{warehouse.url}/health").json()["status"] == "down"
        assert warehouse.http.get(f"{warehouse.url}/health/live").status_code == 200
        with running(PostgresServer.at(directory, password=PASSWORD, port=postgres.port, fsync=False)):
            eventually(lambda: warehouse.deduct(line(item)).status_code == 200, 5, "recovery")
            assert {answer["status"] for answer in warehouse.deduct_many(lines).values()} == {200}


@pytest.mark.timed
def test_without_redis_the_last_known_gremlins_expire_on_time(
    tmp_path: Path, scratch: Path, inventory_database: str
) -> None:
    directory = scratch / "valkey-outage"
    directory.mkdir()
    item = add_item(inventory_database, 100)
    with ExitStack() as stack:
        with running(ValkeyServer.at(directory, password=PASSWORD)) as valkey:
            warehouse = stack.enter_context(one_replica(tmp_path, inventory_database, valkey.url()))
            began = time.monotonic()
            warehouse.activate(partial_failure_rate=1.0, ttl_seconds=2, seed=1)
        assert warehouse.metric('inventory_chaos_enabled{type="partial_failure"}') == 1
        warehouse.wait_for_metric('inventory_chaos_enabled{type="partial_failure"}', 0)
        assert time.monotonic() - began > 1.9
        assert warehouse.deduct(line(item)).status_code == 200
        assert warehouse.http.get(f"{warehouse.url}/health").json()["status"] == "degraded"
        for method in ("GET", "DELETE"):
            refused = warehouse.http.request(method, f"{warehouse.url}/api/admin/chaos", headers=OPERATOR)
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:valerix:problem:chaos-unavailable")
        with running(ValkeyServer.at(directory, password=PASSWORD, port=valkey.port)):
            eventually(lambda: warehouse.http.get(f"{warehouse.url}/health").json()["status"] == "ok", 5)
            assert warehouse.activate(crash_rate=1.0)["acknowledged"] == ["inventory-1"]


@pytest.mark.parametrize(("point", "stored"), [("after-insert", 0), ("before-commit", 0), ("after-commit", 1)])
async def test_an_inventory_killed_at_a_crash_point_deducts_all_or_nothing_and_a_repeat_deducts_once(
    services: Processes, inventory_database: str, redis_url: str, point: str, stored: int
) -> None:
    item = add_item(inventory_database, 10)
    doomed = services.inventory(CRASH_AT=point)
    services.start(doomed)
    wanted = line(item, 3)
    with Inventory(inventory_database, redis_url, [doomed]) as warehouse, pytest.raises(httpx.TransportError):
        warehouse.deduct(wanted)
    assert doomed.wait_killed() == -signal.SIGKILL
    with psycopg.connect(inventory_database) as conn:
        found = conn.execute("SELECT order_id FROM inventory_transactions WHERE order_id IS NOT NULL").fetchall()
        left = conn.execute("SELECT quantity FROM inventory WHERE item_id = %s", [item]).fetchall()
    assert (len(found), left) == (stored, [(10 - 3 * stored,)])
    async with open_pool(inventory_database, name="test", size=1) as pool:
        again = await usecases.deduct_batch(pool, [Line(uuid.UUID(wanted["order_id"]), item, 3)])
        assert again == [Deducted(7, repeated=bool(stored))]


@pytest.mark.timed
def test_a_terminated_inventory_finishes_requests_and_ignores_gremlins_unless_allowed(
    services: Processes, inventory_database: str, redis_url: str
) -> None:
    item = add_item(inventory_database, 10)
    allowed, other = services.inventory(), services.inventory(CHAOS_ALLOWED="")
    services.start(allowed, other)
    with (
        Inventory(inventory_database, redis_url, [allowed, other]) as warehouse,
        ThreadPoolExecutor() as other_thread,
    ):
        warehouse.activate(latency=True, latency_ms=3000)
        assert warehouse.deduct(line(item), at=1).elapsed.total_seconds() < 3 * slowdown()
        for method, path in (("GET", ""), ("GET", "/0/hits"), ("POST", ""), ("DELETE", ""), ("POST", "/halt")):
            for headers in ({}, OPERATOR):
                hidden = warehouse.http.request(method, f"{other.url}/api/admin/chaos{path}", headers=headers)
                assert (hidden.status_code, hidden.json()["type"]) == (404, "urn:valerix:problem:not-found")

        asking = other_thread.submit(warehouse.deduct, line(item))
        eventually(lambda: warehouse.quantity(item) == 8)
        assert allowed.stop() == 0
        assert asking.result().status_code == 200


def test_a_terminated_inventory_reports_the_hits_of_its_gremlins(
    services: Processes, inventory_database: str, redis_url: str
) -> None:
    item = add_item(inventory_database, 10)
    ending, other = services.inventory(), services.inventory()
    services.start(ending, other)
    with Inventory(inventory_database, redis_url, [ending, other]) as warehouse:
        activation = warehouse.activate(crash_rate=1.0)
        lines = [line(item) for _ in range(400)]
        warehouse.deduct_many(lines)
        assert ending.stop() == 0
        listed = warehouse.hits(activation["id"], at=1)
    assert [hit["order_id"] for hit in listed["hits"]] == sorted(each["order_id"] for each in lines)
    assert listed["complete"]
