"""Looks at the platform now and then while a drill runs, from a thread of its own."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Self, TypeVar

import msgspec

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Activation, ReplicaBreaker
from valerix_cli.errors import CliError
from valerix_cli.session import Session

T = TypeVar("T")

EVERY = 0.25  # seconds
_LIMIT = 2.0  # seconds that a look may take


class Sighting(msgspec.Struct, frozen=True):
    """How the platform was, `at` seconds after the load began; what could not be asked is None.

    `breakers` are those of the order service's replicas, `held_back` whether a worker's is open: half-open it only
    waits for an order to try, of which there may be none. `states` are those of all breakers, `gremlin` what is live.

    `injected` counts what the gremlins of each activation have hit so far: rolls and hits, by gremlin.
    """

    at: float
    breakers: dict[str, str] | None
    held_back: bool | None
    backlog: int | None
    backlog_age: float | None
    dead: int | None
    injected: dict[str, dict[str, tuple[int, int]]] | None
    states: dict[str, str] | None = None
    gremlin: Activation | None = None


class Watcher:
    """`clock` gives seconds since the load began. Everything it saw is kept.

    `transitions` are those of the order service's breakers, by replica and when each was: to what, and why.
    """

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self.sightings: list[Sighting] = []
        self.transitions: dict[tuple[str, datetime], tuple[str, str]] = {}
        self._orders = OrderClient(session.replicas("order", _LIMIT))
        self._inventory = InventoryClient(session.replicas("inventory", _LIMIT))
        self._clock = clock
        self._over = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LIMIT * 4)

    @property
    def last(self) -> Sighting | None:
        return self.sightings[-1] if self.sightings else None

    def look(self) -> Sighting:
        """Look now, besides the looks that come by themselves."""
        with self._looking:
            breaker = self._breaker()
            queue = _or_none(self._orders.queue)
            chaos = _or_none(self._inventory.chaos)
            seen = Sighting(
                at=self._clock(),
                breakers=None
                if breaker is None
                else {one.replica: one.state for one in breaker if one.role == "order"},
                held_back=None
                if breaker is None
                else any(one.state == "open" for one in breaker if one.role != "order"),
                backlog=queue.depth if queue else None,
                backlog_age=(queue.oldest_age_seconds or 0.0) if queue else None,
                dead=queue.dead if queue else None,
                injected=None
                if chaos is None
                else {
                    str(one.id): {name: (count.rolls, count.hits) for name, count in one.counts.items()}
                    for one in [*([chaos.live] if chaos.live else []), *chaos.recent]
                },
                states=None if breaker is None else {one.replica: one.state for one in breaker},
                gremlin=chaos.live if chaos else None,
            )
            self.sightings.append(seen)
            return seen

    def _breaker(self) -> list[ReplicaBreaker] | None:
        found = _or_none(self._orders.breaker)
        if found is None:
            return None
        taking_orders = {one.replica for one in found.replicas if one.role == "order"}
        for moved in found.history:
            if moved.replica in taking_orders:
                self.transitions[moved.replica, moved.at] = (moved.to, moved.reason or "")
        return found.replicas

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self.look()


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except CliError:  # away for a moment, which may well be the point of the drill
        return None
