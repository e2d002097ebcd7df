"""Operations on a running platform: place orders, query both databases, turn gremlins on."""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg

from tests.processes import Processes, Service, eventually

Row = tuple[Any, ...]
_keys = itertools.count(1)


class Shop:
    """One inventory, several order replicas and workers, on the databases of one test."""

    def __init__(
        self, services: Processes, order_database: str, inventory_database: str, *, orders: int = 1, **settings: str
    ) -> None:
        self.order_database, self.inventory_database = order_database, inventory_database
        self.services = services
        self.inventory = services.inventory(**settings)
        self.orders = [services.order(self.inventory, **settings) for _ in range(orders)]
        self.worker = services.worker(self.inventory, **settings)
        self.client, self.operator = services.client, services.operator

    @property
    def everyone(self) -> list[Service]:
        return [self.inventory, *self.orders, self.worker]

    @property
    def order(self) -> Service:
        return self.orders[0]

    def stock(self, item_id: str, quantity: int) -> None:
        """Create an item with stock, as the seed does."""
        with psycopg.connect(self.inventory_database) as conn:
            conn.execute(
                "INSERT INTO inventory (item_id, item_name, quantity, reserved_quantity) VALUES (%s, %s, %s, 0)",
                [item_id, item_id, quantity],
            )
            conn.execute(
                """INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type)
                   VALUES (%s, %s, 'seed')""",
                [item_id, quantity],
            )

    def restock(self, item_id: str, quantity: int) -> None:
        """Add stock to an item."""
        response = self.operator.post(
            f"{self.inventory.url}/api/inventory/{item_id}/restock",
            json={"quantity": quantity},
            headers={"Idempotency-Key": new_key()},
        )
        assert response.is_success, response.text

    def new_item(self, quantity: int = 100) -> str:
        """Create an item with stock for this test only; return its id."""
        item_id = f"item-{next(_keys)}"
        self.stock(item_id, quantity)
        return item_id

    def place(self, item_id: str = "ps5", quantity: int = 1, *, key: str | None = None, at: int = 0) -> httpx.Response:
        return self.client.post(
            f"{self.orders[at].url}/api/orders",
            json={"item_id": item_id, "quantity": quantity},
            headers={"Idempotency-Key": key or new_key()},
        )

    def get(self, order_id: str) -> dict[str, Any]:
        response = self.client.get(f"{self.order.url}/api/orders/{order_id}")
        assert response.status_code == 200, response.text
        order: dict[str, Any] = response.json()
        return order

    def chaos(self, **gremlins: Any) -> dict[str, Any]:
        """Turn gremlins on and return the activation."""
        response = self._ask_of_gremlins("POST", json=gremlins)
        assert response.status_code == 201, response.text
        activation: dict[str, Any] = response.json()
        return activation

    def calm(self) -> dict[str, Any]:
        """Turn every gremlin off and return the activation that ended."""
        live = self._ask_of_gremlins("GET").json()["live"]
        response = self._ask_of_gremlins("DELETE")
        assert response.status_code == 200, response.text
        ended: dict[str, Any] = response.json()["ended"]
        if live and not ended:  # an earlier attempt ended them and got 503
            ended = next(one for one in self._ask_of_gremlins("GET").json()["recent"] if one["id"] == live["id"])
        return ended

    def _ask_of_gremlins(self, method: str, json: dict[str, Any] | None = None) -> httpx.Response:
        """Send a chaos request; repeat it while Redis times out, as on a busy machine."""

        def ask() -> httpx.Response | None:
            response = self.operator.request(method, f"{self.inventory.url}/api/admin/chaos", json=json)
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        answer = eventually(ask, 15, "an answer about gremlins")
        assert answer is not None
        return answer

    def breaker(self, replica: str) -> dict[str, Any]:
        view = self.operator.get(f"{self.order.url}/api/admin/breaker").json()
        found: dict[str, Any] = next(seen for seen in view["replicas"] if seen["replica"] == replica)
        return found

    def breaker_history(self, replica: str) -> list[dict[str, Any]]:
        """Return the replica's breaker transitions, oldest first."""
        view = self.operator.get(f"{self.order.url}/api/admin/breaker").json()
        return [entry for entry in reversed(view["history"]) if entry["replica"] == replica]

    def order_rows(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        return _rows(self.order_database, query, parameters)

    def inventory_rows(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        return _rows(self.inventory_database, query, parameters)

    def quantity(self, item_id: str = "ps5") -> int:
        return int(self.inventory_rows(b"SELECT quantity FROM inventory WHERE item_id = %s", [item_id])[0][0])

    def deductions(self, item_id: str | None = None) -> dict[uuid.UUID, int]:
        """Return the number of deductions of each order in the ledger; of one item, if given."""
        return dict(
            self.inventory_rows(
                b"""SELECT order_id, count(*) FROM inventory_transactions
                    WHERE transaction_type = 'deduct' AND item_id = coalesce(%s, item_id) GROUP BY order_id""",
                [item_id],
            )
        )

    def statuses(self, item_id: str | None = None) -> dict[uuid.UUID, str]:
        """Return the status of each order; of one item, if given."""
        return dict(
            self.order_rows(b"SELECT order_id, status FROM orders WHERE item_id = coalesce(%s, item_id)", [item_id])
        )

    def wait_settled(self, within: float = 15.0, item_id: str | None = None) -> dict[uuid.UUID, str]:
        """Wait until no order, of one item if given, is unfinished; return the final statuses."""

        def settled() -> bool:
            return not {"pending", "queued"} & set(self.statuses(item_id).values())

        try:
            eventually(settled, within, "every order settled")
        except AssertionError as error:
            error.add_note(f"{self.statuses(item_id)}\n{self.services.log_tails()}")
            raise
        return self.statuses(item_id)

    def assert_exactly_one_effect(self, item_id: str | None = None) -> None:
        """Assert that each confirmed order has one deduction and other orders have none, and that stock adds up."""
        deductions = self.deductions(item_id)
        for order_id, status in self.statuses(item_id).items():
            assert deductions.pop(order_id, 0) == (1 if status == "confirmed" else 0), (order_id, status)
        assert not deductions, "deductions without an order"
        assert not self.inventory_rows(
            b"""SELECT item_id, quantity FROM inventory
                LEFT JOIN (SELECT item_id, sum(quantity_change) AS booked FROM inventory_transactions GROUP BY item_id)
                     AS ledger USING (item_id)
                WHERE quantity IS DISTINCT FROM booked OR quantity < 0"""
        )


def new_key() -> str:
    return f"key-{next(_keys)}"


async def send_all(requests: list[tuple[str, str, dict[str, Any]]], concurrency: int) -> list[httpx.Response]:
    """Send (url, key, body) orders, `concurrency` at a time, and return the responses in order."""
    turn = asyncio.Semaphore(concurrency)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(timeout=15, limits=limits) as client:

        async def send(url: str, key: str, body: dict[str, Any]) -> httpx.Response:
            async with turn:
                return await client.post(f"{url}/api/orders", json=body, headers={"Idempotency-Key": key})

        return list(await asyncio.gather(*(send(*request) for request in requests)))


def _rows(url: str, query: bytes, parameters: Sequence[Any]) -> list[Row]:
    with psycopg.connect(url) as conn:
        return conn.execute(query, parameters).fetchall()
