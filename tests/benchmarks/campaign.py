"""One benchmark run: its parts, their order, and the platforms that they use."""

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import bounds, capacity, drain, gremlins, latency, replicas, size, soak, throughput
from tests.benchmarks.bench import Bench
from tests.benchmarks.live import SETTINGS, Live, live
from tests.benchmarks.machine import machine
from tests.benchmarks.results import Result

PARTS = ("throughput", "replays", "latency", "gremlins", "drain", "soak", "size", "replicas", "capacity")
QUICK = (1, 64, 256)
_CASES = {"hot", "items", "new", "replays", "rate", "rows", "replicas"}  # others are in other fields of Result


def run(bench: Bench, asked: Namespace, directory: Path) -> Iterator[Result]:
    """Measure the requested parts.

    Yields a result after each round and part, so an interrupted run keeps its figures.
    """
    started, server = datetime.now(UTC), dict[str, str]()

    def so_far() -> Result:
        return Result(
            command=asked.command,
            started=started,
            machine=machine(directory),
            driver=bench.driver.name,
            server=server,
            settings=SETTINGS,
            scripts=bounds.SCRIPTS,
            rounds=asked.rounds,
            seconds=asked.seconds,
            bounds=bench.bounds,
            cases={name: found for name, found in bench.cases.items() if name.split("/")[0] in _CASES},
            ordeals=bench.ordeals,
            drains=bench.drains,
            soak=bench.soak,
            peaks=bench.peaks,
            audits=bench.audits,
            capacity=bench.capacity,
        )

    for number in range(1, asked.rounds + 1):
        bench.say(f"round {number} of {asked.rounds}")
        with live(directory / "platform") as shop:
            server |= shop.server_settings()
            bench.warm_up(shop)
            _round(bench, shop, asked, number)
            yield so_far()
            if number == asked.rounds and "soak" in asked.only:
                soak.measure(bench, shop, asked.soak_minutes)
                yield so_far()
            if not asked.quick:
                bench.audit(shop, f"the platform of round {number}")
        if "replicas" in asked.only:
            replicas.measure(bench, directory)
            yield so_far()
    for _ in _apart(bench, asked, directory):
        yield so_far()


def _round(bench: Bench, shop: Live, asked: Namespace, number: int) -> None:
    """Run one of each case in turn, so that background activity of the machine affects all of them.

    Each round has a new platform: the bound is measured on empty tables, so the cases compared with it have to be as
    well.
    """
    bench.bounds.append(bounds.measure(shop, asked.seconds))
    bench.say(f"one by one: {bench.bounds[-1].per_second:,.0f}/s, alone {bench.bounds[-1].alone:g} ms")
    if "throughput" in asked.only:
        clients = QUICK if asked.quick else throughput.CLIENTS
        throughput.new_orders(bench, shop, clients, many=not asked.quick, turn=number)
    if "replays" in asked.only:
        throughput.replays(bench, shop, QUICK[1:2] if asked.quick else throughput.REPLAYS)
    if "latency" in asked.only:
        latency.measure(bench, shop)
    for gremlin in gremlins.GREMLINS if "gremlins" in asked.only else ():
        gremlins.measure(bench, shop, gremlin)
    if "drain" in asked.only:
        drain.measure(bench, shop, asked.backlog)


def _apart(bench: Bench, asked: Namespace, directory: Path) -> Iterator[str]:
    """Measure the parts that are not repeated per round. Yields the name of each part once it is done."""
    if "size" in asked.only:
        size.measure(bench, directory, asked.rows, asked.rounds)
        yield "size"
    if "capacity" in asked.only:
        bench.capacity = capacity.measure(asked.seconds)
        yield "capacity"
