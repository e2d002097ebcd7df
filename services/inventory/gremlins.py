"""Gremlins: faults injected on purpose. A hit is a pure function of the seed, the order and the attempt.

A drill therefore injects the same faults into the same orders, independent of concurrency and the number of replicas.
Which attempts take place depends on timing and on the breaker, so a script can list the attempts to hit instead.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

Gremlin: TypeAlias = Literal["latency", "crash", "partial_failure"]
GREMLINS: tuple[Gremlin, ...] = get_args(Gremlin)

MAX_TTL = 900  # seconds
MAX_SEED = 2**53 - 1  # largest integer that a double represents exactly
MAX_SCRIPT_LENGTH = 10_000  # hits

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]
Ttl = Annotated[int, msgspec.Meta(ge=1, le=MAX_TTL)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEED)]
ReasonText = Annotated[str, msgspec.Meta(max_length=200)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Hit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attempt of one order that a gremlin hit, or has to hit."""

    gremlin: Gremlin
    order_id: UUID
    attempt: Attempt


Script: TypeAlias = frozenset[Hit]
EMPTY_SCRIPT: Script = frozenset()


class ActivationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operator's request to activate gremlins. Without a seed, a random one is used.

    With a `script`, rates do not decide: a gremlin that is on (rate above 0) hits exactly the attempts listed for it.
    """

    latency: bool = False
    latency_ms: Milliseconds = 5000
    latency_rate: Rate = 1.0
    crash_rate: Rate = 0.0
    partial_failure_rate: Rate = 0.0
    seed: Seed | None = None
    ttl_seconds: Ttl = 60
    reason: ReasonText | None = None
    script: Annotated[list[Hit], msgspec.Meta(max_length=MAX_SCRIPT_LENGTH)] | None = None


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """Gremlins that are on for `ttl_seconds` from `set_at`.

    `script_length` is the number of hits in the script, which is stored separately; null without a script.
    """

    id: str
    latency: bool
    latency_ms: Milliseconds
    latency_rate: Rate
    crash_rate: Rate
    partial_failure_rate: Rate
    seed: Seed
    ttl_seconds: Ttl
    reason: ReasonText | None
    set_at: datetime
    script_length: int | None = None

    def rate(self, gremlin: Gremlin) -> float:
        """Return the share of attempts that `gremlin` hits, 0 if it is off."""
        match gremlin:
            case "latency":
                return self.latency_rate if self.latency else 0.0
            case "crash":
                return self.crash_rate
            case "partial_failure":
                return self.partial_failure_rate


class Fault(msgspec.Struct, frozen=True):
    """The response that the caller gets instead of the real one. `status` None: the connection is closed."""

    gremlin: Gremlin
    status: Literal[500, 503] | None


CRASHES = (Fault("crash", 500), Fault("crash", 503), Fault("crash", None))
PARTIAL_FAILURES = (Fault("partial_failure", 500), Fault("partial_failure", None))


def build_activation(request: ActivationRequest, activation_id: str, random_seed: int, now: datetime) -> Activation:
    """Build the activation that starts now, with the requested seed or `random_seed`."""
    fields = msgspec.structs.asdict(request)
    script = fields.pop("script")
    added = {
        "id": activation_id,
        "seed": random_seed if request.seed is None else request.seed,
        "set_at": now,
        "script_length": None if script is None else len(script),
    }
    return msgspec.convert(fields | added, Activation)


def is_hit(
    activation: Activation, gremlin: Gremlin, order_id: UUID, attempt: int, script: Script = EMPTY_SCRIPT
) -> bool:
    """Return whether `gremlin` hits this attempt of this order.

    The seed and the rate decide, or, for an activation with a script, `script` alone: a lost script hits nothing.
    """
    rate = activation.rate(gremlin)
    if activation.script_length is not None:
        return rate > 0 and Hit(gremlin, order_id, attempt) in script
    return chance(activation.seed, gremlin, order_id, attempt) < rate


def crash(activation: Activation, order_id: UUID, attempt: int) -> Fault:
    """Return the fault that a crash of this attempt appears as."""
    return CRASHES[int(chance(activation.seed, "crash-kind", order_id, attempt) * len(CRASHES))]


def partial_failure(activation: Activation, order_id: UUID, attempt: int) -> Fault:
    """Return the fault that replaces the response of this attempt, whose deduction is committed."""
    return PARTIAL_FAILURES[
        int(chance(activation.seed, "partial-failure-kind", order_id, attempt) * len(PARTIAL_FAILURES))
    ]


def chance(seed: int, purpose: str, order_id: UUID, attempt: int) -> float:
    """Return a number in [0, 1), equal for equal arguments on every machine."""
    digest = blake2b(f"{seed}:{purpose}:{order_id}:{attempt}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
