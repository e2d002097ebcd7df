"""The contents of a drill file: load, faults, requirements and abort conditions."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from valerix_cli.clients.wire import DELAY_LIMIT, TTL_LIMIT
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.units import PerSecond, Seconds, Share
from valerix_cli.load.workload import Mix
from valerix_cli.units import format_duration, percent

Gremlin: TypeAlias = Literal["latency", "crash", "partial-failure"]
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)"
ITEM = r"^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$(?!\n)"
SERVICE = r"^(order|inventory|worker)$(?!\n)"
TARGET = r"^((order|inventory|worker)(-\d+)?|redis|postgres)$(?!\n)"
Name = Annotated[str, msgspec.Meta(pattern=NAME)]
ItemId = Annotated[str, msgspec.Meta(pattern=ITEM)]
Service = Annotated[str, msgspec.Meta(pattern=SERVICE)]
Target = Annotated[str, msgspec.Meta(pattern=TARGET)]

MAX_FAULT_SECONDS = float(TTL_LIMIT)  # the longest lease of an activation


def _default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value)


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number of retries of an order, always with the same key."""

    times: Annotated[int, msgspec.Meta(ge=0, le=20)] = 3
    same_key: bool = True

    def __post_init__(self) -> None:
        if not self.same_key:
            raise ValueError("a retry keeps the key of its order: with another key it is another order")


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"seconds": "for"}):
    """`rate` orders per second (open loop), or `clients` that each wait for their response (closed loop)."""

    seconds: Seconds
    rate: PerSecond | None = None
    clients: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    items: Annotated[list[ItemId], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["monitor"])
    mix: Mix = "uniform"
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    repeats: Share = _default(Share(0))
    retry: Retry = Retry(0)
    timeout: Seconds = _default(Seconds(10))

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.clients is None):
            raise ValueError("a load has either a `rate` or `clients`")
        if self.seconds <= 0:
            raise ValueError("`for` has to be more than 0 s")


class Platform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Preconditions: the minimum number of replicas by service, and the stock by item."""

    replicas: dict[Service, Annotated[int, msgspec.Meta(ge=1, le=16)]] = {}
    stock_at_least: dict[ItemId, Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]] = {}
    stock_exactly: dict[ItemId, Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]] = {}


class Steady(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements before any fault, measured over the first `window` of the load."""

    window: Seconds
    require: Annotated[list[Requirement], msgspec.Meta(min_length=1)]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"lasting": "for"}):
    """One fault that starts `at` seconds after the load began.

    `gremlin`: a fault inside inventory that hits a share (`rate`) of attempts for `ttl`; `delay` applies to latency.
    `kill`: SIGKILL; the platform restarts the process immediately, or after `restart_after`.
    `stop`: SIGSTOP, and SIGCONT after `for`.
    `restart`: SIGTERM for one replica after the other, each once its predecessor is back.
    `flush`: deletes every key in Redis.
    """

    at: Seconds
    gremlin: Gremlin | None = None
    rate: Share = _default(Share(1))
    delay: Seconds = _default(Seconds(5))
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
        if any(seconds is not None and not 0 < seconds <= MAX_FAULT_SECONDS for seconds in lasts):
            raise ValueError(f"a fault lasts for more than 0 s and at most {MAX_FAULT_SECONDS:g} s")
        if not 0 < self.delay <= DELAY_LIMIT:
            raise ValueError(f"`delay` is more than 0 s and at most {DELAY_LIMIT} s")

    @property
    def kind(self) -> Literal["gremlin", "kill", "stop", "restart", "flush"]:
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def target(self) -> str:
        """A process, a gremlin's name, or `redis`."""
        return str(getattr(self, self.kind))

    @property
    def description(self) -> str:
        """A short description for messages."""
        match self.kind:
            case "gremlin":
                delay = f" of {format_duration(self.delay)}" if self.gremlin == "latency" else ""
                lasts = f" for {format_duration(self.ttl)}" if self.ttl else ""
                return f"{self.gremlin}{delay} on {percent(self.rate)}{lasts}"
            case "kill":
                after = f", back after {format_duration(self.restart_after)}" if self.restart_after else ""
                return f"kill -9 of {self.kill}{after}"
            case "stop":
                return f"{self.stop} stopped for {format_duration(self.lasting or 0)}"
            case "restart":
                return f"rolling restart of {self.restart}"
            case "flush":
                return "Redis flushed"


_KINDS: tuple[Literal["gremlin", "kill", "stop", "restart", "flush"], ...] = (
    "gremlin",
    "kill",
    "stop",
    "restart",
    "flush",
)


class Recover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements that have to hold `within` a time after the last fault, while the load continues."""

    within: Seconds
    require: Annotated[list[Requirement], msgspec.Meta(min_length=1)]


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A drill. `description` is for people; `drain` is the time for the backlog to empty after the load."""

    name: Name
    load: Load
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 42
    platform: Platform = Platform()
    steady: Steady | None = None
    faults: list[Fault] = []
    expect: list[Requirement] = []
    recover: Recover | None = None
    drain: Seconds = _default(Seconds(60))
    invariants: Literal["all"] | Annotated[list[str], msgspec.Meta(min_length=1)] = "all"
    abort: list[Requirement] = []

    @property
    def affects_processes(self) -> bool:
        """True if a fault affects processes, which not every platform supports."""
        return any(fault.kind != "gremlin" for fault in self.faults)

    @property
    def activation_reason(self) -> str:
        """The reason given for activations of this drill's gremlins."""
        return f"drill {self.name}"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a drill file, for editors."""
    return msgspec.json.schema(Drill, schema_hook=_as_text)


def _as_text(kind: type[Any]) -> dict[str, Any]:
    return {"type": ["string", "number"] if issubclass(kind, float) else "string", "pattern": kind.PATTERN}
