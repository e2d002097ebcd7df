"""Orders under gremlins: the responses that clients get, and the state of the orders afterwards."""

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
_STORM = 5.0  # seconds: longer than inventory's time limit, so that the first timeouts are included
_STORMS = 5  # number of loads after which a breaker that is still closed counts as not opening


@dataclass(frozen=True)
class Gremlin:
    """A fault, the options of `valerix chaos on` that cause it, and whether the breaker is expected to open."""

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
    """Measure a steady load, then a load under the gremlin once the breaker is open (if it opens); drain and audit."""
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
    """Send load until the order service's breaker is open."""
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
