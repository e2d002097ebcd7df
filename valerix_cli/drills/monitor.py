"""Samples the state of the platform periodically while a drill runs."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Self, TypeVar

import msgspec

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Activation, Chaos, ReplicaBreaker
from valerix_cli.errors import CliError
from valerix_cli.session import Session

T = TypeVar("T")

INTERVAL = 0.25  # seconds
_TIMEOUT = 2.0  # seconds for one request

HitCounts = dict[str, dict[str, tuple[int, int]]]
"""Rolls and hits by activation id and gremlin."""


class Sample(msgspec.Struct, frozen=True):
    """The state of the platform `at` seconds after the load began; None for what could not be read.

    `breakers` are those of the order service's replicas; `held_back` is true if a worker's breaker is open. (A
    half-open one only waits for an order to try.) `states` are those of all breakers, `gremlin` the live activation.
    """

    at: float
    breakers: dict[str, str] | None
    held_back: bool | None
    backlog: int | None
    backlog_age: float | None
    dead: int | None
    injected: HitCounts | None
    states: dict[str, str] | None = None
    gremlin: Activation | None = None


class Monitor:
    """Takes samples in a thread and keeps them. `clock` returns seconds since the load began.

    `transitions` are those of the order service's breakers: the new state and the reason, by replica and time.
    """

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self.transitions: dict[tuple[str, datetime], tuple[str, str]] = {}
        self._orders = OrderClient(session.replicas("order", _TIMEOUT))
        self._inventory = InventoryClient(session.replicas("inventory", _TIMEOUT))
        self._clock = clock
        self._stopped = threading.Event()
        self._sampling = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(_TIMEOUT * 4)

    @property
    def last(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def sample(self) -> Sample:
        """Take a sample now, in addition to the periodic ones."""
        with self._sampling:
            breakers = self._read_breakers()
            queue = _or_none(self._orders.queue)
            chaos = _or_none(self._inventory.chaos)
            sample = Sample(
                at=self._clock(),
                breakers=_states(breakers, "order"),
                held_back=_is_held_back(breakers),
                backlog=queue.depth if queue else None,
                backlog_age=(queue.oldest_age_seconds or 0.0) if queue else None,
                dead=queue.dead if queue else None,
                injected=_hit_counts(chaos),
                states=_states(breakers),
                gremlin=chaos.live if chaos else None,
            )
            self.samples.append(sample)
            return sample

    def _read_breakers(self) -> list[ReplicaBreaker] | None:
        found = _or_none(self._orders.breaker)
        if found is None:
            return None
        order_replicas = {one.replica for one in found.replicas if one.role == "order"}
        for transition in found.history:
            if transition.replica in order_replicas:
                self.transitions[transition.replica, transition.at] = (transition.to, transition.reason or "")
        return found.replicas

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self.sample()


def _states(breakers: list[ReplicaBreaker] | None, role: str | None = None) -> dict[str, str] | None:
    if breakers is None:
        return None
    return {one.replica: one.state for one in breakers if role in (None, one.role)}


def _is_held_back(breakers: list[ReplicaBreaker] | None) -> bool | None:
    if breakers is None:
        return None
    return any(one.state == "open" for one in breakers if one.role != "order")


def _hit_counts(chaos: Chaos | None) -> HitCounts | None:
    if chaos is None:
        return None
    activations = [*([chaos.live] if chaos.live else []), *chaos.recent]
    return {str(one.id): {name: (count.rolls, count.hits) for name, count in one.counts.items()} for one in activations}


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except CliError:  # unreachable for a moment, perhaps because of a fault of the drill
        return None
