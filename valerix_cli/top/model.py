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
    """The latest response to one request, and its age in seconds.

    `fault` is the reason why there is no newer one; None without a failure.
    """

    value: T | None = None
    age: float = 0.0
    fault: str | None = None


class Process(msgspec.Struct, frozen=True):
    """One replica of a service, or a database.

    Fields from the supervisor of this machine (`state`, `seconds`, `restarts`, `last_exit`) are None elsewhere.
    A database has no health.
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
    """All data on the screen: each part with its age, and the results of this session's actions."""

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
