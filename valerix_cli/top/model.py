"""The snapshot that `valerix top` shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from valerix_cli.audit.model import Audit
from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.clients.wire import Breaker, Chaos, Item, Queue
from valerix_cli.top.feed import Feed
from valerix_cli.top.rates import Traffic

T = TypeVar("T")


class Reading(msgspec.Struct, Generic[T], frozen=True):
    """The last answer to one question, and how many seconds ago it came.

    `fault` says why there is no newer one; None while there is nothing to complain of.
    """

    value: T | None = None
    age: float = 0.0
    fault: str | None = None


class Process(msgspec.Struct, frozen=True):
    """One replica of a service, or a database.

    What only the supervisor of this machine knows (`state`, `seconds`, `restarts`, `last_exit`) is None elsewhere.
    A database says nothing of its health.
    """

    name: str
    state: str | None
    health: str | None
    seconds: float | None = None
    restarts: int | None = None
    last_exit: int | None = None


class Services(msgspec.Struct, frozen=True):
    """The state of the platform and of each of its processes."""

    state: str
    processes: list[Process]
    seconds: float | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """Everything the screen shows: what was asked, each part with its own age, and what was done from here."""

    at: datetime
    services: Reading[Services] = Reading()
    traffic: Reading[Traffic] = Reading()
    breaker: Reading[Breaker] = Reading()
    chaos: Reading[Chaos] = Reading()
    queue: Reading[Queue] = Reading()
    stock: Reading[list[Item]] = Reading()
    feed: Reading[Feed] = Reading()
    sends: Sequence[OrderResponse] = ()
    audit: Reading[Audit] = Reading()
