"""A drill as its file says it: the load, what goes wrong and when, what has to hold, and when to give up."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from valerix_cli.clients.wire import DELAY_LIMIT, TTL_LIMIT
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.units import PerSecond, Seconds, Share
from valerix_cli.load.workload import Mix

Gremlin: TypeAlias = Literal["latency", "crash", "partial-failure"]
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)"
ITEM = r"^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$(?!\n)"
SERVICE = r"^(order|inventory|worker)$(?!\n)"
TARGET = r"^((order|inventory|worker)(-\d+)?|redis|postgres)$(?!\n)"
Name = Annotated[str, msgspec.Meta(pattern=NAME)]
ItemId = Annotated[str, msgspec.Meta(pattern=ITEM)]
Service = Annotated[str, msgspec.Meta(pattern=SERVICE)]
Target = Annotated[str, msgspec.Meta(pattern=TARGET)]

LONGEST = float(TTL_LIMIT)  # seconds that a fault may last: the longest lease there is


def _by_default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value)


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an order is sent again, always with its key."""

    times: Annotated[int, msgspec.Meta(ge=0, le=20)] = 3
    same_key: bool = True

    def __post_init__(self) -> None:
        if not self.same_key:
            raise ValueError("an order that is sent again keeps its key: with another one it is another order")


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"seconds": "for"}):
    """`rate` orders a second whatever becomes of them, or `clients` that each wait for their answer."""

    seconds: Seconds
    rate: PerSecond | None = None
    clients: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    items: Annotated[list[ItemId], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["monitor"])
    mix: Mix = "uniform"
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    repeats: Share = _by_default(Share(0))
    retry: Retry = Retry(0)
    timeout: Seconds = _by_default(Seconds(10))

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.clients is None):
            raise ValueError("a load has either a `rate` or `clients`")
        if self.seconds <= 0:
            raise ValueError("`for` has to be longer than nothing")


class Platform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What has to be there: at least so many replicas of a service, at least or exactly so many of an item."""

    replicas: dict[Service, Annotated[int, msgspec.Meta(ge=1, le=16)]] = {}
    stock_at_least: dict[ItemId, Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]] = {}
    stock_exactly: dict[ItemId, Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]] = {}


class Steady(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What has to hold before anything is broken, over the first `window` of the load."""

    window: Seconds
    require: Annotated[list[Requirement], msgspec.Meta(min_length=1)]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"lasting": "for"}):
    """One thing that goes wrong, `at` so many seconds of the load.

    `gremlin`: a fault inside inventory, hitting a share (`rate`) of the attempts for `ttl`; `delay` is latency's.
    `kill`: SIGKILL; the platform starts it again at once, or after `restart_after`.
    `stop`: SIGSTOP, and SIGCONT after `for`.
    `restart`: SIGTERM, one replica after the other, each awaited.
    `flush`: everything in Redis is lost.
    """

    at: Seconds
    gremlin: Gremlin | None = None
    rate: Share = _by_default(Share(1))
    delay: Seconds = _by_default(Seconds(5))
    ttl: Seconds | None = None
    kill: Target | None = None
    restart_after: Seconds | None = None
    stop: Target | None = None
    lasting: Seconds | None = None
    restart: Target | None = None
    flush: Literal["redis"] | None = None

    def __post_init__(self) -> None:
        named = [name for name in _KINDS if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"a fault is one of {', '.join(_KINDS)}; this is {' and '.join(named) or 'none of them'}")
        if self.stop and self.lasting is None:
            raise ValueError("`stop` needs `for`: how long it stays stopped")
        lasts = (self.ttl, self.restart_after, self.lasting)
        if any(seconds is not None and not 0 < seconds <= LONGEST for seconds in lasts):
            raise ValueError(f"a fault lasts for more than nothing and at most {LONGEST:g} s")
        if not 0 < self.delay <= DELAY_LIMIT:
            raise ValueError(f"`delay` is more than nothing and at most {DELAY_LIMIT} s")

    @property
    def kind(self) -> Literal["gremlin", "kill", "stop", "restart", "flush"]:
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def target(self) -> str:
        """Whom it strikes: a process, a gremlin's name or `redis`."""
        return str(getattr(self, self.kind))


_KINDS: tuple[Literal["gremlin", "kill", "stop", "restart", "flush"], ...] = (
    "gremlin",
    "kill",
    "stop",
    "restart",
    "flush",
)


class Recover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What has to be so again, `within` so long after the last fault; the load goes on meanwhile."""

    within: Seconds
    require: Annotated[list[Requirement], msgspec.Meta(min_length=1)]


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole drill. `teaches` is for people; `drain` is how long the backlog may take once the load has ended."""

    name: Name
    load: Load
    teaches: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 42
    platform: Platform = Platform()
    steady: Steady | None = None
    faults: list[Fault] = []
    expect: list[Requirement] = []
    recover: Recover | None = None
    drain: Seconds = _by_default(Seconds(60))
    invariants: Literal["all"] | Annotated[list[str], msgspec.Meta(min_length=1)] = "all"
    abort: list[Requirement] = []

    @property
    def strikes_processes(self) -> bool:
        """Whether it strikes more than inventory's answers, which not every platform can be done to."""
        return any(fault.kind != "gremlin" for fault in self.faults)


def schema() -> dict[str, Any]:
    """The JSON Schema of a drill file, for editors and checks."""
    return msgspec.json.schema(Drill, schema_hook=_as_text)


def _as_text(kind: type[Any]) -> dict[str, Any]:
    return {"type": ["string", "number"] if issubclass(kind, float) else "string", "pattern": kind.PATTERN}
