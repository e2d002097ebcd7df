"""Client of the inventory service: stock, the ledger, gremlins."""

from typing import Any
from uuid import UUID

import httpx
import msgspec

from valerix_cli.addresses import path
from valerix_cli.clients.http import Replicas, decode
from valerix_cli.clients.wire import Activation, Chaos, DrillLease, Ended, Hits, Item, Items, Ledger, Restocked


class InventoryClient:
    """Stock, the ledger and the gremlins."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def items(self, *, below: int | None = None) -> list[Item]:
        """Return every item, or those with fewer than `below` in stock."""
        items = self._replicas.get("/api/inventory", Items).items
        return items if below is None else [item for item in items if item.quantity < below]

    def item(self, item_id: str) -> Item:
        return self._replicas.get(path("api", "inventory", item_id), Item)

    def restock(self, item_id: str, quantity: int, key: str) -> Restocked:
        """Add to the stock of an item, once per key."""
        self._replicas.operator_only("restock")
        response = self._replicas.send(
            "POST",
            path("api", "inventory", item_id, "restock"),
            repeatable=True,  # because of the key
            json={"quantity": quantity},
            headers={"Idempotency-Key": key},
        )
        return decode(response, Restocked)

    def ledger(self, order_id: UUID) -> Ledger:
        self._replicas.operator_only("read the ledger")
        return self._replicas.get(path("api", "inventory", "transactions", str(order_id)), Ledger)

    def deduct(self, order_id: str, item_id: str, quantity: int, service_token: str) -> httpx.Response:
        """Deduct the stock of an order; inventory deducts once, however often this is called."""
        return self._replicas.send(
            "POST",
            "/api/inventory/deduct",
            repeatable=True,  # because of the order id
            json={"order_id": order_id, "item_id": item_id, "quantity": quantity, "attempt": 1},
            headers={"Authorization": f"Bearer {service_token}"},
        )

    def chaos(self) -> Chaos:
        self._replicas.operator_only("see the gremlins")
        return self._replicas.get("/api/admin/chaos", Chaos)

    def hits(self, activation_id: str) -> Hits:
        """Return every attempt that these gremlins hit."""
        self._replicas.operator_only("see what gremlins hit")
        return self._replicas.get(path("api", "admin", "chaos", activation_id, "hits"), Hits)

    def activate(self, gremlins: dict[str, Any]) -> Activation:
        """Activate gremlins, replacing the active ones; returns once the replicas have them.

        With `script` (a list of hits or of plain values), only what it lists is hit.
        """
        self._replicas.operator_only("turn gremlins on")
        wish = msgspec.to_builtins(gremlins)
        return decode(self._replicas.send("POST", "/api/admin/chaos", json=wish), Activation)

    def deactivate(self) -> Activation | None:
        """Turn the gremlins off. Returns the activation that ended, if any."""
        self._replicas.operator_only("turn gremlins off")
        return decode(self._replicas.send("DELETE", "/api/admin/chaos", repeatable=True), Ended).ended

    def halt(self, *, halted: bool) -> Chaos:
        self._replicas.operator_only("halt gremlins")
        return decode(
            self._replicas.send("POST", "/api/admin/chaos/halt", repeatable=True, json={"halted": halted}), Chaos
        )

    def take_drill(self, *, run: str, drill: str, by: str, ttl_seconds: int) -> DrillLease:
        """Acquire the platform for one run of a drill, or renew it. Raises GuardError if another run holds it."""
        self._replicas.operator_only("run a drill")
        body = {"run": run, "drill": drill, "by": by, "ttl_seconds": ttl_seconds}
        return decode(self._replicas.send("PUT", "/api/admin/chaos/drill", repeatable=True, json=body), DrillLease)

    def give_drill_back(self, run: str) -> None:
        """Release the platform for the next drill."""
        self._replicas.send("DELETE", path("api", "admin", "chaos", "drill", run), repeatable=True)
