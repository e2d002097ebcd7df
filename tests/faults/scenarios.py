"""The scenario of each trial, derived from its seed alone."""

import math
from random import Random
from typing import Literal

import msgspec

from services.inventory.app import CRASH_POINTS as INVENTORY_POINTS
from services.order.app import CRASH_POINTS as ORDER_POINTS
from services.order.worker import CRASH_POINTS as WORKER_POINTS

Process = Literal["order", "worker", "inventory"]
Strike = Literal["kill", "stop"]
Way = Literal["plain", "unreachable", "lost-answers"]

POINTS: dict[Process, frozenset[str]] = {"order": ORDER_POINTS, "worker": WORKER_POINTS, "inventory": INVENTORY_POINTS}
STRIKES: tuple[Strike, ...] = ("kill", "stop")

PASSED_BY_EACH_ORDER = {
    "order": frozenset({"after-accept", "after-answer", "before-settle", "after-settle", "after-cache"}),
    "worker": frozenset({"after-deduct", "after-settle"}),
    "inventory": frozenset[str](),
}
"""All other points are passed once per batch, whatever its size."""


class Cell(msgspec.Struct, frozen=True, order=True):
    """The process to strike, the crash point, and the signal."""

    process: Process
    point: str
    strike: Strike

    def __str__(self) -> str:
        return f"{self.process}/{self.point}/{self.strike}"


CELLS = tuple(
    Cell(process, point, strike) for process, points in POINTS.items() for point in sorted(points) for strike in STRIKES
)


class Request(msgspec.Struct, frozen=True):
    """An order that a client repeats until it has a response."""

    key: str
    quantity: int


class Scenario(msgspec.Struct, frozen=True):
    """A trial before it runs. `requests` include repeats of keys, some with another quantity; `patience` is in seconds.

    `way` is how orders are queued for a worker: by a service that cannot reach inventory, or by responses that are lost
    after the deduction.
    """

    cell: Cell
    seed: str
    item_id: str
    stock: int
    requests: tuple[Request, ...]
    concurrency: int
    patience: float
    skip: int
    way: Way

    @property
    def covers_all(self) -> bool:
        """True if the stock covers all orders, so that none may be refused."""
        return self.stock >= _most_wanted(self.requests)


def scenario(seed: int, cell: Cell, number: int, again: int = 0) -> Scenario:
    """Return the scenario of these arguments; `again` counts earlier attempts that did not reach their point."""
    own_seed = f"{seed}/{cell}/{number}" + (f"/{again}" if again else "")
    dice = Random(own_seed)  # noqa: S311 - not a secret
    name = own_seed.replace("/", ".")
    keys = [f"trial.{name}.{order}" for order in range(1, dice.randint(1, 12) + 1)]
    requests = _requests(dice, keys)
    concurrency = dice.randint(1, len(requests))
    return Scenario(
        cell=cell,
        seed=own_seed,
        item_id=f"{cell.process[0]}.{cell.point}.{cell.strike}.{number}.{again}",
        stock=_stock(dice, requests),
        requests=requests,
        concurrency=concurrency,
        patience=dice.choice([1.0, 2.5, 8.0]),
        skip=dice.choice([0, dice.randint(0, _most_skipped(cell, len(keys), concurrency))]),
        way="plain" if cell.process != "worker" else dice.choice(["unreachable", "lost-answers"]),
    )


def _requests(dice: Random, keys: list[str]) -> tuple[Request, ...]:
    requests = []
    for key in keys:
        quantity = dice.randint(1, 5)
        repeats = dice.choice([0, 0, 0, 1, 2, 3])
        requests += [Request(key, quantity)] * (1 + repeats)
        if dice.random() < 0.2:
            requests.append(Request(key, quantity + dice.randint(1, 3)))
    dice.shuffle(requests)
    return tuple(requests)


def _stock(dice: Random, requests: tuple[Request, ...]) -> int:
    """Return the stock: too little for all orders in three trials of ten."""
    wanted = _most_wanted(requests)
    return int(wanted * dice.uniform(0, 0.95)) if dice.random() < 0.3 else wanted + dice.randint(0, 20)


def _most_wanted(requests: tuple[Request, ...]) -> int:
    most: dict[str, int] = {}
    for request in requests:
        most[request.key] = max(request.quantity, most.get(request.key, 0))
    return sum(most.values())


def _most_skipped(cell: Cell, orders: int, concurrency: int) -> int:
    """Return how many passes to skip so that, most of the time, one more follows."""
    if cell.point in PASSED_BY_EACH_ORDER[cell.process]:
        return orders - 1
    return min(2, math.ceil(orders / concurrency) - 1) // (2 if cell.process == "worker" else 1)
