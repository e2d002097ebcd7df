"""Operations on a running inventory: add stock, send requests, query the ledger, turn gremlins on."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import httpx
import psycopg

from services.common.postgres import Pool
from tests.processes import OPERATOR, SERVICE, Service, eventually

Line = dict[str, Any]
Fate = int | Literal["lost"]
NDJSON = SERVICE | {"Content-Type": "application/x-ndjson"}

_items = itertools.count(1)


def line(item_id: str, quantity: int = 1, order_id: str | None = None, attempt: int = 1) -> Line:
    return {"order_id": order_id or str(uuid.uuid4()), "item_id": item_id, "quantity": quantity, "attempt": attempt}


def ndjson(lines: Iterable[Line]) -> bytes:
    return "\n".join(map(json.dumps, lines)).encode()


def add_item(database: str, quantity: int) -> str:
    """Create an item with stock, as the seed does, and return its id."""
    item_id = f"item-{next(_items)}"
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO inventory (item_id, item_name, quantity) VALUES (%(id)s, %(id)s, %(quantity)s)",
            {"id": item_id, "quantity": quantity},
        )
        if quantity:
            conn.execute(
                """
                INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type)
                VALUES (%s, %s, 'seed')
                """,
                [item_id, quantity],
            )
    return item_id


async def balances(pool: Pool) -> dict[str, int]:
    """Return the stock of each item, after checking it against the ledger."""
    async with pool.connection() as conn:
        books = await (
            await conn.execute(
                """
                SELECT inventory.item_id, quantity, coalesce(sum(quantity_change), 0)::bigint
                FROM inventory LEFT JOIN inventory_transactions USING (item_id) GROUP BY inventory.item_id, quantity
                """
            )
        ).fetchall()
    assert all(quantity == booked and quantity >= 0 for _, quantity, booked in books), books
    return {item_id: quantity for item_id, quantity, _ in books}


async def until_somebody_waits_for_a_lock(pool: Pool) -> None:
    """Wait until a session of the server waits for a lock; five seconds at most."""
    async with asyncio.timeout(5), pool.connection() as conn:
        while True:
            waiting = await conn.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            if await waiting.fetchone():
                return


class Inventory:
    """Replicas of the inventory service on one database and one Redis."""

    def __init__(self, database: str, redis_url: str, replicas: Sequence[Service]) -> None:
        self.database, self.redis_url, self.replicas = database, redis_url, replicas
        self.url = replicas[0].url
        self.http = httpx.Client(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def add_item(self, quantity: int = 100) -> str:
        return add_item(self.database, quantity)

    def deduct(self, wanted: Line, at: int = 0) -> httpx.Response:
        return self.http.post(f"{self.replicas[at].url}/api/inventory/deduct", json=wanted, headers=SERVICE)

    def deduct_many(self, lines: Iterable[Line], at: int = 0) -> dict[str, Line]:
        """Send one bulk request and return the result lines by order."""
        response = self.http.post(
            f"{self.replicas[at].url}/api/inventory/deductions", content=ndjson(lines), headers=NDJSON
        )
        assert response.status_code == 200, response.text
        answers = [json.loads(text) for text in response.text.splitlines()]
        return {answer["order_id"]: answer for answer in answers}

    def restock(self, item_id: str, quantity: int, key: str) -> httpx.Response:
        return self.http.post(
            f"{self.url}/api/inventory/{item_id}/restock",
            json={"quantity": quantity},
            headers=OPERATOR | {"Idempotency-Key": key},
        )

    def quantity(self, item_id: str) -> int:
        response = self.http.get(f"{self.url}/api/inventory/{item_id}")
        assert response.status_code == 200, response.text
        return int(response.json()["quantity"])

    def ledger(self, order_id: str) -> dict[str, Any]:
        response = self.http.get(f"{self.url}/api/inventory/transactions/{order_id}", headers=SERVICE)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def activate(self, at: int = 0, **wish: Any) -> dict[str, Any]:
        response = self.http.post(f"{self.replicas[at].url}/api/admin/chaos", json=wish, headers=OPERATOR)
        assert response.status_code == 201, response.text
        activation: dict[str, Any] = response.json()
        return activation

    def wait_until_followed(self) -> None:
        """Wait until every replica follows the live gremlins: the request that turns them on waits a second at most."""
        names = [replica.name for replica in self.replicas]
        eventually(lambda: self.chaos()["live"]["acknowledged"] == names, what=f"{names} follow the gremlins")

    def chaos(self, at: int = 0) -> dict[str, Any]:
        response = self.http.get(f"{self.replicas[at].url}/api/admin/chaos", headers=OPERATOR)
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def hits(self, activation_id: str, at: int = 0) -> dict[str, Any]:
        url = f"{self.replicas[at].url}/api/admin/chaos/{activation_id}/hits"
        response = self.http.get(url, headers=OPERATOR)
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def deactivate(self) -> dict[str, Any] | None:
        response = self.http.delete(f"{self.url}/api/admin/chaos", headers=OPERATOR)
        assert response.status_code == 200, response.text
        ended: dict[str, Any] | None = response.json()["ended"]
        return ended

    def halt(self, *, halted: bool) -> dict[str, Any]:
        response = self.http.post(f"{self.url}/api/admin/chaos/halt", json={"halted": halted}, headers=OPERATOR)
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def metric(self, name: str, at: int = 0) -> float:
        """Return one sample of the metrics page, by its name with labels."""
        page = self.http.get(f"{self.replicas[at].url}/metrics").text
        found = [sample for sample in page.splitlines() if sample.startswith(f"{name} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def wait_for_metric(self, name: str, wanted: float) -> None:
        eventually(lambda: self.metric(name) == wanted, what=f"{name} is {wanted}, not {self.metric(name)}")

    async def fates(self, lines: Sequence[Line], concurrency: int, at: int = 0) -> dict[str, Fate]:
        """Send each line to the single endpoint and return the statuses by order."""
        turn = asyncio.Semaphore(concurrency)
        async with httpx.AsyncClient(timeout=10) as client:

            async def send(wanted: Line) -> Fate:
                async with turn:
                    try:
                        url = f"{self.replicas[at].url}/api/inventory/deduct"
                        return (await client.post(url, json=wanted, headers=SERVICE)).status_code
                    except httpx.RemoteProtocolError:
                        return "lost"

            found = await asyncio.gather(*map(send, lines))
        return {wanted["order_id"]: fate for wanted, fate in zip(lines, found, strict=True)}
