"""Request that activates gremlins."""

from enum import StrEnum
from typing import Any

from valerix_cli.clients.wire import Activation

_TTL = 60.0  # seconds
_DELAY = 5000  # milliseconds


class Gremlin(StrEnum):
    """Faults to inject at inventory."""

    LATENCY = "latency"
    CRASH = "crash"
    PARTIAL_FAILURE = "partial-failure"


def merged(
    live: Activation | None,
    gremlin: Gremlin,
    *,
    rate: float | None,
    delay: float | None,
    ttl: float | None,
    seed: int | None,
    reason: str | None,
) -> dict[str, Any]:
    """Return the request that activates `gremlin` and keeps the active ones."""
    rate = 1.0 if rate is None else rate
    body: dict[str, Any] = {"latency": False, "ttl_seconds": int(_TTL if ttl is None else ttl)}
    if live is not None:
        kept = ("latency", "latency_ms", "latency_rate", "crash_rate", "partial_failure_rate", "seed", "reason")
        body |= {name: getattr(live, name) for name in kept}
    if gremlin is Gremlin.LATENCY:
        kept_ms = live.latency_ms if live is not None and live.latency else _DELAY
        body |= {
            "latency": True,
            "latency_rate": rate,
            "latency_ms": kept_ms if delay is None else round(delay * 1000),
        }
    else:
        body[f"{gremlin.replace('-', '_')}_rate"] = rate
    given = {"seed": seed, "reason": reason}
    body |= {name: value for name, value in given.items() if value is not None}
    return {name: value for name, value in body.items() if value is not None}
