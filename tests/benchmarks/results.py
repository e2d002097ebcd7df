"""Result types of the benchmarks; also the schema of docs/performance.json."""

from datetime import datetime

import msgspec


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """Result of one load: orders answered per second, and response times in milliseconds.

    `statuses` counts responses by HTTP status, `unanswered` requests without a response, `replayed` responses that had
    been stored before. `limited` is true if the load generator was the bottleneck.
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
    """Result of pgbench: transactions per second of order rows and of the hot stock row, and the time of one order.

    `alone` is the time, in milliseconds, of an order's three commits one after the other by a single client.
    """

    order_rows: float
    stock_row: float
    alone: float

    @property
    def per_second(self) -> float:
        """The one-by-one bound: orders per second when the two parts of each order run one after the other."""
        return 1 / (1 / self.order_rows + 1 / self.stock_row)


class Drain(msgspec.Struct, frozen=True):
    """Drain of a backlog: it began to fall at `first` and was empty at `last`; `timeline` is of (seconds, orders left).

    `per_second` is the drain rate between 95 % and 5 % of the backlog, which excludes the wait before it and the few
    orders that wait longer than others.
    """

    orders: int
    left: int
    first: float
    last: float
    per_second: float
    timeline: list[tuple[float, int]]

    @property
    def per_second_in_all(self) -> float:
        """Drain rate over the whole time, waits included."""
        return (self.orders - self.left) / max(self.last, 1e-9)


class Ordeal(msgspec.Struct, frozen=True):
    """A load before and under gremlins, and the drain and audit that follow.

    `statuses` and `unanswered` count from the moment the gremlins are live, including the time before the breaker
    opened. That was after `opened_after` seconds; None if it did not open. `audit` is the verdict after the backlog
    drained.
    """

    calm: Sample
    live: Sample
    statuses: dict[str, int]
    unanswered: int
    opened_after: float | None
    drain: Drain
    audit: str


class Soak(msgspec.Struct, frozen=True):
    """A long load: sample `times` in seconds, and the megabytes of each process at these times."""

    clients: int
    sample: Sample
    times: list[float]
    megabytes: dict[str, list[float]]


class Capacity(msgspec.Struct, frozen=True):
    """Orders per second that `valerix load` can send from one core to a server that does nothing, and its CPU share."""

    per_second: float
    cpu: float


class Machine(msgspec.Struct, frozen=True):
    """Machine of a benchmark. `memory` is in gigabytes, `filesystem` is that of the databases."""

    processor: str
    cores: int
    memory: float
    system: str
    python: str
    filesystem: str


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. Each list has one entry per round, in the same order everywhere, so that entries of a round compare.

    `cases` are named `hot/64` (the hot item, 64 clients), `items/64` (1,000 items), `rate/500`, `rate/half` (of
    `hot/256`), `new/64` and `replays/64`, `rows/1000000/empty/64` and `rows/1000000/full/64`, `replicas/2/hot/64`.
    `peaks` is the maximum of megabytes of each process, `audits` the final verdict on each platform.
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
