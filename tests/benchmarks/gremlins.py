"""Orders under gremlins: what clients see meanwhile, and what becomes of the orders afterwards."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.benchmarks import drain
from tests.benchmarks.bench import Bench
from tests.benchmarks.live import Live
from tests.benchmarks.results import Ordeal, Sample

CLIENTS = 64
SEEDS_CHAOS = "latency 5 s at 100 % and crash 30 %"
_TTL = "600s"
_STORM = 5.0  # seconds: longer than inventory's time limit, so that the first answers are seen
_STORMS = 5  # after so many a breaker that is still closed is not meant to open


@dataclass(frozen=True)
class Gremlin:
    """What goes wrong, the switches of `valerix chaos on` that make it so, and whether the breaker is to open."""

    name: str
    switches: tuple[tuple[str, ...], ...]
    opens: bool


_LATENCY, _CRASH = ("latency", "--delay", "5s"), ("crash", "--rate", "30%")
GREMLINS = (
    Gremlin("latency 5 s at 100 %", (_LATENCY,), opens=True),
    Gremlin("crash 30 %", (_CRASH,), opens=False),
    Gremlin("partial failure 30 %", (("partial-failure", "--rate", "30%"),), opens=False),
    Gremlin(SEEDS_CHAOS, (_LATENCY, _CRASH), opens=True),
)


def measure(bench: Bench, shop: Live, gremlin: Gremlin) -> Ordeal:
    """Load in a steady state, then under the gremlin, once the breaker is open if it opens; then drain and audit."""
    calm = bench.clients(shop, f"calm/{gremlin.name}", CLIENTS)
    opened = None
    with _loose(bench, shop, gremlin):
        began, storms = time.monotonic(), list(_storms(bench, shop) if gremlin.opens else ())
        if storms and _is_open(shop):
            opened = round(time.monotonic() - began, 1)
        live = bench.clients(shop, f"gremlin/{gremlin.name}", CLIENTS)
    drained = drain.watch(shop)
    bench.say(f"after {gremlin.name}: {drain.described(drained)}")
    for state in ("close", "auto"):  # the next case begins with a closed breaker
        shop.valerix("breaker", state)
    everything = [*storms, live]
    statuses = sum((Counter(one.statuses) for one in everything), Counter[str]())
    ordeal = Ordeal(
        calm=calm,
        live=live,
        statuses=dict(sorted(statuses.items())),
        unanswered=sum(one.unanswered for one in everything),
        opened_after=opened,
        drain=drained,
        audit=shop.valerix("audit")["verdict"],
    )
    bench.ordeals.setdefault(gremlin.name, []).append(ordeal)
    return ordeal


def _storms(bench: Bench, shop: Live) -> Iterator[Sample]:
    """Load until the order service's breaker is open."""
    for _ in range(_STORMS):
        yield bench.clients(shop, "storm", CLIENTS, seconds=_STORM)
        if _is_open(shop):
            return


@contextmanager
def _loose(bench: Bench, shop: Live, gremlin: Gremlin) -> Iterator[None]:
    try:
        for switch in gremlin.switches:
            shop.valerix("chaos", "on", *switch, "--ttl", _TTL, "--seed", str(bench.seed))
        yield
    finally:
        shop.valerix("chaos", "off")


def _is_open(shop: Live) -> bool:
    replicas = shop.valerix("breaker", "status")["replicas"]
    return all(one["state"] != "closed" for one in replicas if one["role"] == "order")
