"""What was measured, as values; also the shape of docs/performance.json."""

from datetime import datetime

import msgspec


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one load: orders answered a second, and milliseconds until the answer.

    `statuses` counts answers by HTTP status, `unanswered` requests that got none, `replayed` answers that had been
    stored before. `limited`: the load itself was what held it up.
    """

    per_second: float
    p50: float
    p95: float
    p99: float
    statuses: dict[str, int]
    unanswered: int = 0
    replayed: int = 0
    limited: bool = False

    @property
    def server_errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status.startswith("5"))


class Bound(msgspec.Struct, frozen=True):
    """What pgbench does: transactions a second of order rows and of the hot stock row, and what `alone` an order takes.

    That is, in milliseconds, its three commits one after the other, by one client.
    """

    order_rows: float
    stock_row: float
    alone: float

    @property
    def per_second(self) -> float:
        """The one-by-one bound: orders a second when each order's two parts are done one after the other."""
        return 1 / (1 / self.order_rows + 1 / self.stock_row)


class Drain(msgspec.Struct, frozen=True):
    """How a backlog went: it began to fall at `first` and was gone at `last`; `timeline` is of (seconds, orders left).

    `per_second` is the orders that went a second while from 95 % to 5 % of it were left, so that neither the wait
    before it nor the few that wait longer than others count.
    """

    orders: int
    left: int
    first: float
    last: float
    per_second: float
    timeline: list[tuple[float, int]]

    @property
    def per_second_in_all(self) -> float:
        """From the beginning to the last, waits and all."""
        return (self.orders - self.left) / max(self.last, 1e-9)


class Ordeal(msgspec.Struct, frozen=True):
    """A load before and under gremlins, and what came after.

    `statuses` and `unanswered` count everything since they went live, also before the breaker was found open, which was
    `opened_after` seconds (None: it is not meant to open, or did not). `audit` is the verdict once all had drained.
    """

    calm: Sample
    live: Sample
    statuses: dict[str, int]
    unanswered: int
    opened_after: float | None
    drain: Drain
    audit: str


class Soak(msgspec.Struct, frozen=True):
    """A long load: at which `times`, in seconds, which process took how many megabytes."""

    clients: int
    sample: Sample
    times: list[float]
    megabytes: dict[str, list[float]]


class Capacity(msgspec.Struct, frozen=True):
    """What `valerix load` can send from one core to a server that does nothing, and what share of that core it used."""

    per_second: float
    cpu: float


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. `memory` is in gigabytes, `filesystem` that of the databases."""

    processor: str
    cores: int
    memory: float
    system: str
    python: str
    filesystem: str


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. A list has one entry per round, in the same order everywhere, so entries of one round compare.

    `cases` are named `hot/64` (the hot item, 64 clients), `items/64` (1,000 items), `rate/500`, `rate/half` (of
    `hot/256`), `new/64` and `replays/64`, `rows/1000000/empty/64` and `rows/1000000/full/64`, `replicas/2/hot/64`.
    `peaks` are the most megabytes seen of each process, `audits` the verdict on each platform at its end.
    """

    command: str
    started: datetime
    machine: Machine
    driver: str
    server: dict[str, str]
    settings: dict[str, str]
    scripts: dict[str, str]
    rounds: int
    seconds: float
    bounds: list[Bound] = []
    cases: dict[str, list[Sample]] = {}
    ordeals: dict[str, list[Ordeal]] = {}
    drains: list[Drain] = []
    soak: Soak | None = None
    peaks: dict[str, float] = {}
    audits: dict[str, str] = {}
    capacity: Capacity | None = None
