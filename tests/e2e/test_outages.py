"""A database that is shut down, a missing Redis, and a worker that is stopped beyond its lease."""

import asyncio
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
import redis

from services.common.postgres import migrate
from tests.conftest import Databases
from tests.e2e.shop import Row, Shop, new_key
from tests.machine_load import slowdown
from tests.processes import OPERATOR, SERVICE, Processes, Service, eventually, processes
from valerix_cli.local.ports import free_port
from valerix_cli.local.servers import PostgresServer, running

SHORT = {"LEASE_SECONDS": "1", "BREAKER_OPEN_SECONDS": "1"}
LIMIT = 3.0  # seconds until a client learns that the database is unavailable


class Mortal:
    """A PostgreSQL of the test with both databases, which can be shut down and started again."""

    def __init__(self, directory: Path) -> None:
        self._server = PostgresServer.at(directory, password="only-for-this-test", fsync=False)
        self._up = ExitStack()
        self.start()
        databases = Databases(self._server)
        self.order_database, self.inventory_database = databases.make("order"), databases.make("inventory")
        migrate(self.order_database, "services.order")
        migrate(self.inventory_database, "services.inventory")

    def start(self) -> None:
        self._server = self._up.enter_context(running(self._server))

    def stop(self) -> None:
        self._up.close()


@pytest.fixture
def mortal(scratch: Path) -> Iterator[Mortal]:
    directory = scratch / "mortal-postgres"
    directory.mkdir()
    server = Mortal(directory)
    yield server
    server.stop()


class Question(NamedTuple):
    """One request, and its statuses with and without a database."""

    service: Service
    method: str
    path: str
    body: dict[str, Any] | None = None
    key: str = ""
    usually: int = 200
    without: int = 503


def order(at: Service, item_id: str, key: str, without: int = 503) -> Question:
    return Question(at, "POST", "/api/orders", {"item_id": item_id, "quantity": 1}, key, 201, without)


def deduction(at: Service, path: str, without: int = 503) -> Question:
    body = {"order_id": str(uuid.uuid4()), "item_id": "ps5", "quantity": 1, "attempt": 1}
    return Question(at, "POST", f"/api/inventory/{path}", body, without=without)


def everything(shop: Shop, finished: dict[str, Any]) -> list[Question]:
    """Return requests for each endpoint, several for those that batch their commits; `finished` is a finished order."""
    order_id, key = finished["order_id"], finished["idempotency_key"]
    return [
        *(
            Question(service, "GET", path, without=200 if path in {"/health/live", "/metrics"} else 503)
            for service in shop.everyone
            for path in ("/health", "/health/ready", "/health/deep", "/health/live", "/metrics")
        ),
        *(order(shop.order, "ps5", new_key()) for _ in range(6)),
        order(shop.order, "ps5", key, without=201),  # cached in Redis
        Question(shop.order, "GET", f"/api/orders/{order_id}"),
        Question(shop.order, "GET", f"/api/orders/{order_id}/events"),
        Question(shop.order, "GET", "/api/orders"),
        Question(shop.order, "GET", "/api/orders?status=confirmed"),
        Question(shop.order, "GET", f"/api/orders?idempotency_key={key}"),
        Question(shop.order, "GET", "/api/admin/platform"),
        Question(shop.order, "GET", "/api/admin/queue"),
        Question(shop.order, "POST", "/api/admin/queue/requeue", {"all": True}),
        Question(shop.order, "GET", "/api/admin/breaker", without=200),
        *(deduction(shop.inventory, "deduct") for _ in range(6)),
        *(deduction(shop.inventory, "deductions", without=200) for _ in range(3)),  # each line has its own status
        Question(shop.inventory, "GET", "/api/inventory"),
        Question(shop.inventory, "GET", "/api/inventory/ps5"),
        Question(shop.inventory, "GET", f"/api/inventory/transactions/{order_id}"),
        Question(shop.inventory, "POST", "/api/inventory/ps5/restock", {"quantity": 1}, new_key()),
    ]


async def send(client: httpx.AsyncClient, question: Question) -> httpx.Response:
    headers = (SERVICE if "/deduct" in question.path else OPERATOR) | {"Idempotency-Key": question.key or "none"}
    headers["Content-Type"] = "application/x-ndjson" if question.path.endswith("deductions") else "application/json"
    content = None if question.body is None else json.dumps(question.body)
    url = question.service.url + question.path
    return await client.request(question.method, url, content=content, headers=headers)


def ask(questions: list[Question], *, apart: float = 0.0) -> list[tuple[Question, httpx.Response]]:
    """Send all requests, `apart` seconds after each other, and return the responses."""

    async def answer(client: httpx.AsyncClient, number: int, question: Question) -> tuple[Question, httpx.Response]:
        await asyncio.sleep(number * apart)
        return question, await send(client, question)

    async def answer_all() -> list[tuple[Question, httpx.Response]]:
        async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(max_connections=None)) as client:
            return await asyncio.gather(*(answer(client, number, each) for number, each in enumerate(questions)))

    return asyncio.run(answer_all())


def shown(question: Question, response: httpx.Response) -> str:
    seconds = response.elapsed.total_seconds()
    return f"{question.method} {question.path} at {question.service.name}: {response.status_code} after {seconds:.2f} s"


def untold(answers: list[tuple[Question, httpx.Response]]) -> list[str]:
    """Return the responses that took too long or did not report the missing database."""
    return [
        shown(question, response)
        for question, response in answers
        if response.elapsed.total_seconds() >= LIMIT * slowdown() or not says_so(question, response)
    ]


def says_so(question: Question, response: httpx.Response) -> bool:
    if response.status_code != question.without:
        return False
    if question.path.endswith("deductions"):
        line = json.loads(response.text)
        return (line["status"], line["reason"]) == (503, "database-unavailable")
    if response.status_code == 503 and not question.path.startswith("/health"):
        problem = "urn:valerix:problem:database-unavailable"
        return response.json()["type"] == problem and "Retry-After" in response.headers
    return True


def unusual(answers: list[tuple[Question, httpx.Response]]) -> list[str]:
    return [shown(*each) for each in answers if each[1].status_code != each[0].usually]


@pytest.mark.timed
def test_without_postgresql_every_endpoint_fails_in_time_and_recovers_without_a_restart(
    mortal: Mortal, tmp_path: Path, redis_url: str
) -> None:
    databases = mortal.order_database, mortal.inventory_database
    with processes(tmp_path, *databases, redis_url) as services:
        shop = Shop(services, *databases, orders=1, **SHORT)
        shop.stock("ps5", 1000)
        new_item = shop.new_item()
        services.start(*shop.everyone)
        finished = shop.place().json()
        shop.chaos(crash_rate=1.0)
        assert shop.place(key="waiting").status_code == 202
        shop.calm()
        pids = [service.process.pid for service in shop.everyone]

        mortal.stop()
        at_once = [*everything(shop, finished), order(shop.order, new_item, new_key())]
        assert not untold(ask(at_once))
        in_a_row = [deduction(shop.inventory, "deduct") for _ in range(8)]
        assert not untold(ask(in_a_row, apart=0.2))
        mortal.start()

        eventually(lambda: not unusual(ask(everything(shop, finished))), 5, "business as usual")
        assert [service.process.pid for service in shop.everyone] == pids
        unplaced = [each for each in at_once if each.path == "/api/orders" and each.key]
        ask(unplaced)  # as clients do after a 503
        settled = shop.wait_settled()
        assert set(settled.values()) == {"confirmed"}
        assert not unusual(ask(unplaced))
        assert {shop.deductions()[order_id] for order_id in settled} == {1}


def test_the_sweeper_settles_every_order_without_redis(
    tmp_path: Path, order_database: str, inventory_database: str
) -> None:
    with processes(tmp_path, order_database, inventory_database, f"redis://127.0.0.1:{free_port()}") as services:
        shop = Shop(services, order_database, inventory_database, orders=2, **SHORT)
        item = shop.new_item(10)
        services.start(*shop.orders, shop.worker)
        first = {key: shop.place(item, key=key, at=number % 2) for number, key in enumerate("abcdef")}
        assert {answer.status_code for answer in first.values()} == {202}  # inventory is not running yet
        services.start(shop.inventory)
        assert list(shop.wait_settled().values()) == ["confirmed"] * 6
        for key, answer in first.items():
            again = shop.place(item, key=key)
            assert (again.status_code, again.json()["order_id"]) == (201, answer.json()["order_id"])
        shop.place(item, 4, key="the-last")
        shop.place(item, key="too-late")
        shop.wait_settled()
        assert shop.place(item, 4, key="the-last").status_code == 201
        assert shop.place(item, key="too-late").status_code == 409
        assert shop.quantity(item) == 0
        shop.assert_exactly_one_effect()


def test_an_order_accepted_during_an_outage_is_returned_for_its_key_even_if_the_item_is_unknown(
    services: Processes, order_database: str, inventory_database: str, redis_url: str
) -> None:
    shop = Shop(services, order_database, inventory_database, orders=1, **SHORT)
    services.start(shop.order)
    order_id = shop.place("missing", key="taken").json()["order_id"]  # inventory is down, so the item is not checked
    services.start(shop.inventory)
    again = shop.place("missing", key="taken")
    assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (202, "true"), again.text
    services.start(shop.worker)
    assert set(shop.wait_settled().values()) == {"failed"}
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    refused = shop.place("missing", key="taken")
    assert (refused.status_code, refused.headers.get("Idempotent-Replayed")) == (422, "true"), refused.text
    assert refused.json()["order_id"] == order_id
    assert shop.place("ps5", key="taken").json()["type"] == "urn:valerix:problem:idempotency-key-reused"


@pytest.mark.parametrize("point", ["after-claim", "after-deduct"])
def test_a_worker_that_wakes_after_its_lease_changes_nothing(
    services: Processes, order_database: str, inventory_database: str, point: str
) -> None:
    """It continues with orders that another worker has finished: repeats their deductions and settles them late."""
    shop = Shop(services, order_database, inventory_database, orders=1, **SHORT)
    shop.stock("ps5", 100)
    services.start(shop.order)
    assert [shop.place().status_code for _ in range(3)] == [202, 202, 202]  # inventory is not running yet
    services.start(shop.inventory)
    zombie, second = shop.worker, services.worker(shop.inventory, **SHORT)
    zombie.start(CRASH_AT=point, CRASH_SIGNAL="stop")
    eventually(lambda: psutil.Process(zombie.process.pid).status() == psutil.STATUS_STOPPED, 20, "its sleep")
    services.start(second)
    assert set(shop.wait_settled().values()) == {"confirmed"}

    before = orders_and_events(shop)
    zombie.signal(signal.SIGCONT)
    eventually(lambda: has_settled(zombie), what="the zombie's late settlement")
    assert zombie.stop() == 0
    assert orders_and_events(shop) == before
    assert shop.quantity() == 97
    shop.assert_exactly_one_effect()


def orders_and_events(shop: Shop) -> list[Row]:
    return shop.order_rows(b"SELECT * FROM orders ORDER BY id") + shop.order_rows(
        b"SELECT * FROM order_events ORDER BY id"
    )


def has_settled(service: Service) -> bool:
    """Return True if it has tried to settle, according to its metrics."""
    page = httpx.get(f"{service.url}/metrics").text
    counts = [float(line.split()[-1]) for line in page.splitlines() if line.startswith(SETTLEMENTS)]
    return any(counts)


SETTLEMENTS = 'group_commit_batch_size_count{step="settle"}'
