"""Gremlins: faults made on purpose. Whether one hits is a pure function of the seed, the order and its attempt.

So a drill replays the same faults on the same orders, whatever the concurrency and however many replicas. Which
attempts take place is up to time and to the breaker, so a script may say instead, attempt by attempt, what is hit.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

Gremlin: TypeAlias = Literal["latency", "crash", "partial_failure"]
GREMLINS: tuple[Gremlin, ...] = get_args(Gremlin)

TTL_LIMIT = 900  # seconds
SEED_LIMIT = 2**53 - 1  # what survives a reader whose numbers are doubles
SCRIPT_LIMIT = 10_000  # hits

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]
Ttl = Annotated[int, msgspec.Meta(ge=1, le=TTL_LIMIT)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=SEED_LIMIT)]
Words = Annotated[str, msgspec.Meta(max_length=200)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Hit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attempt of one order that a gremlin hit, or is to hit."""

    gremlin: Gremlin
    order_id: UUID
    attempt: Attempt


Script: TypeAlias = frozenset[Hit]
NO_HITS: Script = frozenset()


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator asks for. Without a seed one is drawn.

    With `only`, the dice decide nothing: a gremlin that is on (any rate above 0) hits what is listed for it, no more.
    """

    latency: bool = False
    latency_ms: Milliseconds = 5000
    latency_rate: Rate = 1.0
    crash_rate: Rate = 0.0
    partial_failure_rate: Rate = 0.0
    seed: Seed | None = None
    ttl_seconds: Ttl = 60
    reason: Words | None = None
    only: Annotated[list[Hit], msgspec.Meta(max_length=SCRIPT_LIMIT)] | None = None


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that was granted, for `ttl_seconds` from `set_at`.

    `scripted` is how many hits its script lists, which is kept apart from it; null where the dice decide.
    """

    id: str
    latency: bool
    latency_ms: Milliseconds
    latency_rate: Rate
    crash_rate: Rate
    partial_failure_rate: Rate
    seed: Seed
    ttl_seconds: Ttl
    reason: Words | None
    set_at: datetime
    scripted: int | None = None

    def rate(self, gremlin: Gremlin) -> float:
        """Return the share of orders that `gremlin` hits, 0 when it is off."""
        match gremlin:
            case "latency":
                return self.latency_rate if self.latency else 0.0
            case "crash":
                return self.crash_rate
            case "partial_failure":
                return self.partial_failure_rate


class Fault(msgspec.Struct, frozen=True):
    """What a caller gets in place of the truth: a status, or, without one, no answer at all."""

    gremlin: Gremlin
    status: Literal[500, 503] | None


CRASHES = (Fault("crash", 500), Fault("crash", 503), Fault("crash", None))
LOSSES = (Fault("partial_failure", 500), Fault("partial_failure", None))


def grant(wish: Wish, activation_id: str, drawn: int, now: datetime) -> Activation:
    """Turn a wish into an activation that begins now, with its own seed or the one drawn for it."""
    terms = msgspec.structs.asdict(wish)
    only = terms.pop("only")
    granted = {
        "id": activation_id,
        "seed": drawn if wish.seed is None else wish.seed,
        "set_at": now,
        "scripted": None if only is None else len(only),
    }
    return msgspec.convert(terms | granted, Activation)


def hits(activation: Activation, gremlin: Gremlin, order_id: UUID, attempt: int, script: Script = NO_HITS) -> bool:
    """Say whether `gremlin` hits this attempt of this order.

    The dice decide, or, for a scripted activation, `script` alone: one that is lost hits nothing.
    """
    rate = activation.rate(gremlin)
    if activation.scripted is not None:
        return rate > 0 and Hit(gremlin, order_id, attempt) in script
    return chance(activation.seed, gremlin, order_id, attempt) < rate


def crash(activation: Activation, order_id: UUID, attempt: int) -> Fault:
    """Say how the crash that hits this attempt looks."""
    return CRASHES[int(chance(activation.seed, "crash-kind", order_id, attempt) * len(CRASHES))]


def loss(activation: Activation, order_id: UUID, attempt: int) -> Fault:
    """Say how the answer of this attempt, whose work is committed, gets lost."""
    return LOSSES[int(chance(activation.seed, "partial-failure-kind", order_id, attempt) * len(LOSSES))]


def chance(seed: int, what: str, order_id: UUID, attempt: int) -> float:
    """Return a number in [0, 1) that is the same for the same arguments, on every machine."""
    digest = blake2b(f"{seed}:{what}:{order_id}:{attempt}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
