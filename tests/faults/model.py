"""The responses that clients got and the stock that an operator added: the model that both databases have to match."""

import uuid
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self

import httpx

from tests.e2e.shop import Row, Shop

PROBLEM = "urn:valerix:problem:"
WHY_REFUSED = ("type", "status", "order_id", "item_id", "requested")  # the other fields belong to a single request


class Body(NamedTuple):
    """The body of a request."""

    item_id: str
    quantity: int


class Answer(NamedTuple):
    """A response: its status and the slug of a problem, which is empty for an order. Status 0: no response."""

    status: int
    slug: str
    content: dict[str, Any]

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        content: dict[str, Any] = response.json()
        return cls(response.status_code, str(content.get("type", "")).removeprefix(PROBLEM), content)

    @property
    def is_final(self) -> bool:
        return self[:2] in {(201, ""), (409, "insufficient-stock"), (422, "unknown-item")}


NONE_CAME = Answer(0, "", {})


class Key:
    """One key: the bodies that it may have, the order id in its responses, and its final response once there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.order_id: str | None = None
        self.final: dict[str, Any] | None = None
        self._candidates: set[Body] = set()
        self._story: list[str] = []

    def __repr__(self) -> str:
        return "\n  ".join([self.name, *self._story])

    @property
    def bodies(self) -> list[Body]:
        """The bodies that it may have: a single one, once that is decided."""
        return sorted(self._candidates)

    @property
    def is_decided(self) -> bool:
        """True if it is known to have one order with one body."""
        return self.order_id is not None and len(self._candidates) == 1

    def sent(self, body: Body) -> None:
        """Record that `body` was sent: as long as no response has named an order, it may become the key's body."""
        if self.order_id is None:
            self._candidates.add(body)

    def record(self, body: Body, answer: Answer) -> None:
        """Record the response to `body`. Raises AssertionError if it is invalid or contradicts an earlier one."""
        self._story.append(f"{body.quantity} of {body.item_id}: {answer.status} {answer.content}")
        match answer:
            case Answer(201 | 202, "", order):
                assert (order["idempotency_key"], order["item_id"], order["quantity"]) == (self.name, *body), self
                assert order["status"] in ({"confirmed"} if answer.is_final else {"pending", "queued", "dead"}), self
                self._is(body, order["order_id"], order if answer.is_final else None)
            case Answer(409, "request-in-flight", problem):
                self._is(body, problem["order_id"], None)
            case Answer(422, "unknown-item", {"item_id": body.item_id}) if "order_id" not in answer.content:
                assert self.order_id is None or self._candidates != {body}, self  # nothing was stored for it
            case Answer(409, "insufficient-stock", problem) | Answer(422, "unknown-item", problem):
                assert Body(problem["item_id"], problem["requested"]) == body, self
                self._is(body, problem["order_id"], {name: problem[name] for name in WHY_REFUSED})
            case Answer(422, "idempotency-key-reused", problem):
                self._is_not(body, problem["order_id"])
            case Answer(503, "database-unavailable" | "queue-full") | Answer(0):
                pass  # it may have been stored, or not
            case _:
                raise AssertionError(self)

    def _is(self, body: Body, order_id: str, final: dict[str, Any] | None) -> None:
        assert body in self._candidates, self
        assert self.order_id in {None, order_id}, self
        assert self.final in (None, final), self
        self._candidates, self.order_id, self.final = {body}, order_id, final

    def _is_not(self, body: Body, order_id: str) -> None:
        assert self.order_id in {None, order_id}, self
        self._candidates.discard(body)
        assert self._candidates, self
        self.order_id = order_id


class Restock(NamedTuple):
    """Stock that an operator adds once, under its own key."""

    key: str
    item_id: str
    quantity: int


def assert_each_key_has_one_effect(shop: Shop, initial: dict[str, int], keys: list[Key], added: list[Restock]) -> None:
    """Compare both databases, in which every order has settled, with the responses and restocks."""
    orders = _orders(shop, keys)
    strangers = shop.order_rows(
        b"SELECT * FROM orders WHERE item_id = ANY(%s) AND NOT idempotency_key = ANY(%s)",
        [list(initial), [key.name for key in keys]],
    )
    assert not strangers
    confirmed = {order_id: body for order_id, body, status in orders.values() if status == "confirmed"}
    for item_id, quantity in initial.items():
        ledger = _ledger(shop, item_id)
        sold = {order_id: body.quantity for order_id, body in confirmed.items() if body.item_id == item_id}
        restocked = {each.key: each.quantity for each in added if each.item_id == item_id}
        assert [line[1:] for line in ledger if line[0] == "seed"] == [(None, None, quantity)]
        assert _unique((line[1], -line[3]) for line in ledger if line[0] == "deduct") == sold
        assert _unique((line[2], line[3]) for line in ledger if line[0] == "restock") == restocked
        assert shop.quantity(item_id) == quantity + sum(restocked.values()) - sum(sold.values()) >= 0
        _assert_refusals_were_due(shop, item_id, list(accumulate(line[3] for line in ledger)))
    _assert_histories_are_unbroken(shop, orders.values())


def _orders(shop: Shop, keys: list[Key]) -> dict[str, tuple[uuid.UUID, Body, str]]:
    """Return the order of each key, after checking its id against the responses and its body against the requests."""
    rows = shop.order_rows(
        b"SELECT idempotency_key, order_id, item_id, quantity, status FROM orders WHERE idempotency_key = ANY(%s)",
        [[key.name for key in keys]],
    )
    orders = _unique(
        (name, (order_id, Body(item, quantity), status)) for name, order_id, item, quantity, status in rows
    )
    for key in keys:
        if key.order_id is None:
            assert key.name not in orders, key
            continue
        order_id, body, status = orders[key.name]
        assert (str(order_id), [body]) == (key.order_id, key.bodies), key
        assert key.final is not None, key
        assert (status == "confirmed") == (key.final["status"] == "confirmed"), key
    return orders


def _ledger(shop: Shop, item_id: str) -> list[Row]:
    """Return the ledger lines of one item, transaction by transaction: each was written with the item locked."""
    return shop.inventory_rows(
        b"""SELECT transaction_type, order_id, idempotency_key, quantity_change FROM inventory_transactions
            WHERE item_id = %s ORDER BY id""",
        [item_id],
    )


def _assert_refusals_were_due(shop: Shop, item_id: str, levels: list[int]) -> None:
    """Assert that each refused order asked for more than was available, and that the stock was so low at some time.

    The ledger need not show this level, because lines of one commit are not stored in the order of the deductions.
    """
    refusals = shop.inventory_rows(b"SELECT quantity, available, reason FROM refusals WHERE item_id = %s", [item_id])
    for quantity, available, reason in refusals:
        assert reason == "insufficient-stock"
        assert min(levels) <= available <= max(levels), (available, levels)
        assert available < quantity


def _assert_histories_are_unbroken(shop: Shop, orders: Iterable[tuple[uuid.UUID, Body, str]]) -> None:
    """Assert that each event starts from the status of the previous one, and that the last one is the order's status.

    No event follows a final status.
    """
    for order_id, _, status in orders:
        events = shop.order_rows(
            b"""SELECT "from", "to" FROM order_events WHERE order_id = %s ORDER BY id""", [order_id]
        )
        assert events[0] == (None, "pending"), events
        assert all(earlier[1] == later[0] for earlier, later in pairwise(events)), events
        assert not {"confirmed", "failed"} & {left for left, _ in events}, events
        assert events[-1][1] == status, events


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    listed = list(pairs)
    assert len(dict(listed)) == len(listed), listed
    return dict(listed)
