"""What clients were told and what an operator added: the story that both databases have to agree with."""

import uuid
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self

import httpx

from tests.e2e.shop import Row, Shop

PROBLEM = "urn:valerix:problem:"
WHY_REFUSED = ("type", "status", "order_id", "item_id", "requested")  # the rest is of the one request


class Body(NamedTuple):
    """What one request asks for."""

    item_id: str
    quantity: int


class Answer(NamedTuple):
    """What came back: a status and a problem's slug, which is empty for an order. Status 0: nothing came back."""

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
    """One key: the bodies it may stand for, the order it was told to be, and its final answer once there was one."""

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
        """What it may stand for: one body, once it is decided."""
        return sorted(self._candidates)

    @property
    def is_decided(self) -> bool:
        """Whether it is known to be one order with one body."""
        return self.order_id is not None and len(self._candidates) == 1

    def sent(self, body: Body) -> None:
        """Note that `body` is on its way: while nobody was told of an order, it may become the one."""
        if self.order_id is None:
            self._candidates.add(body)

    def told(self, body: Body, answer: Answer) -> None:
        """Take the answer to `body`. Fails when it makes no sense, or contradicts an earlier one."""
        self._story.append(f"{body.quantity} of {body.item_id}: {answer.status} {answer.content}")
        match answer:
            case Answer(201 | 202, "", order):
                assert (order["idempotency_key"], order["item_id"], order["quantity"]) == (self.name, *body), self
                assert order["status"] in ({"confirmed"} if answer.is_final else {"pending", "queued", "dead"}), self
                self._is(body, order["order_id"], order if answer.is_final else None)
            case Answer(409, "request-in-flight", problem):
                self._is(body, problem["order_id"], None)
            case Answer(422, "unknown-item", {"item_id": body.item_id}) if "order_id" not in answer.content:
                assert self.order_id is None or self._candidates != {body}, self  # nothing of it was stored
            case Answer(409, "insufficient-stock", problem) | Answer(422, "unknown-item", problem):
                assert Body(problem["item_id"], problem["requested"]) == body, self
                self._is(body, problem["order_id"], {name: problem[name] for name in WHY_REFUSED})
            case Answer(422, "idempotency-key-reused", problem):
                self._is_not(body, problem["order_id"])
            case Answer(503, "database-unavailable" | "queue-full") | Answer(0):
                pass  # it may be stored, or not
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
    """Goods that an operator adds once, under a key of their own."""

    key: str
    item_id: str
    quantity: int


def assert_each_key_has_one_effect(shop: Shop, initial: dict[str, int], keys: list[Key], added: list[Restock]) -> None:
    """Hold both databases, in which every order has come to its end, against what was told and added."""
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
    """Return the order of each key, having seen that it is the one that was told, with a body that was sent."""
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
    """The lines of one item, transaction by transaction: each was written with the item locked."""
    return shop.inventory_rows(
        b"""SELECT transaction_type, order_id, idempotency_key, quantity_change FROM inventory_transactions
            WHERE item_id = %s ORDER BY id""",
        [item_id],
    )


def _assert_refusals_were_due(shop: Shop, item_id: str, levels: list[int]) -> None:
    """Whoever was refused asked for more than there was, and there was so little at some time.

    How much that was need not be in the books, since lines that are committed together are not written as they came.
    """
    refusals = shop.inventory_rows(b"SELECT quantity, available, reason FROM refusals WHERE item_id = %s", [item_id])
    for quantity, available, reason in refusals:
        assert reason == "insufficient-stock"
        assert min(levels) <= available <= max(levels), (available, levels)
        assert available < quantity


def _assert_histories_are_unbroken(shop: Shop, orders: Iterable[tuple[uuid.UUID, Body, str]]) -> None:
    """Each step begins where the one before it ended, and the last is where the order stands; ends are final."""
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
