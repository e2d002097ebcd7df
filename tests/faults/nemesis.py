"""Injects random faults into a platform of real processes under load, then stops and audits it.

python -m tests.faults.nemesis --seed 7 --minutes 2 --rate 50

The seed decides the orders and the sequence of faults; the speed of the machine decides how many faults there are.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import httpx
import msgspec
import psutil
import psycopg
import redis

from tests.faults.open_load import Load
from tests.faults.platform import Mortal, Platform
from tests.faults.proxy import Kind, LoopThread
from tests.faults.report import NemesisReport, settling_of, verdict_of
from tests.fork_server import exit_code
from tests.processes import Service, eventually
from valerix_cli.audit import Sources, audit
from valerix_cli.journal import JournalWriter

PAST_THE_LEASE = (2.2, 4.5)  # seconds
SERVICE_WITHIN = 30.0  # seconds for a service to become ready once its dependencies are available
SETTLED_WITHIN = 120.0  # seconds
TAIL = 120.0  # seconds for the last requests to be answered or given up
TWO_AT_ONCE = 0.35  # probability of a second fault
A_WHILE = (0.5, 4.0)  # seconds


class Deed(msgspec.Struct, frozen=True):
    """A kind of fault. `happen` starts it on one of `targets`, and reverts it when its block ends.

    `lasts` is the range of its duration in seconds.
    """

    kind: str
    targets: list[str]
    lasts: tuple[float, float]
    happen: Callable[[str], AbstractContextManager[None]]


class Nemesis:
    """Runs one fault after another on a platform, sometimes two at once, and reverts each."""

    def __init__(self, platform: Platform, seed: int, say: Callable[[str], None]) -> None:
        self._platform = platform
        self._dice = Random(seed)  # noqa: S311 - a seed is the point
        self._say = say
        self._began = time.monotonic()
        self._services = {service.name: service for service in platform.services}
        self._proxies = {proxy.name: proxy for proxy in platform.proxies}
        self._actions = self._all_deeds()
        self._bag: list[Deed] = []
        self._fired: Counter[str] = Counter()
        self._gremlins: dict[str, dict[str, int]] = {}
        self.troubles: list[str] = []

    @property
    def fired(self) -> dict[str, int]:
        """Number of actual hits of each fault: processes killed or stopped, connections affected, gremlins' hits."""
        total = self._fired.copy()
        for proxy in self._proxies.values():
            total.update({f"{kind}, connections": count for kind, count in proxy.fired.items() if kind != "pass"})
        for hits in self._gremlins.values():
            total.update({f"gremlin {gremlin}, hits": count for gremlin, count in hits.items() if count})
        return dict(sorted(total.items()))

    def rage(self, seconds: float) -> None:
        """Run faults until the time is over, and revert the last of them."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._rest((0.2, 1.2), until)
            with ExitStack() as undo:
                spoiled = self._begin(undo, until)
                if self._dice.random() < TWO_AT_ONCE:
                    self._begin(undo, until, besides=spoiled)
            self.look_around()

    def heal(self) -> None:
        """Stop injecting faults, and check that everything recovers."""
        for proxy in self._proxies.values():
            proxy.heal()
        eventually(lambda: "ended" in self._platform.chaos("DELETE"), SERVICE_WITHIN, "the gremlins' end")
        self.look_around()
        for service in self._platform.services:
            try:
                eventually(partial(_is_well, service.url), SERVICE_WITHIN)
            except AssertionError:
                said = _health(service.url)
                self.trouble(f"{service.name} is not well {SERVICE_WITHIN:.0f} s after the last fault: {said}")

    def look_around(self) -> None:
        """Record the gremlins' hits and the processes that died without being killed; restart those."""
        seen = self._platform.chaos("GET")
        for activation in filter(None, [seen.get("live"), *seen.get("recent", [])]):
            known = self._gremlins.get(activation["id"], {})
            for gremlin, tally in activation["counts"].items():
                known[gremlin] = max(known.get(gremlin, 0), tally["hits"])
        for service in self._platform.services:
            if not service.is_alive:
                self.trouble(f"{service.name} died by itself, exit {exit_code(service.process)}")
                self._raise(service)

    def trouble(self, what: str) -> None:
        """Record a failure."""
        self._tell(f"TROUBLE: {what}")
        self.troubles.append(what)

    def _begin(self, undo: ExitStack, until: float, besides: str | None = None) -> str:
        """Start the next fault on any target except `besides`, and let it last for a while; return the target."""
        deed, target = self._draw(besides)
        self._tell(f"{deed.kind}: {target}")
        undo.enter_context(deed.happen(target))
        self._rest(deed.lasts, until)
        return target

    def _draw(self, besides: str | None) -> tuple[Deed, str]:
        """Return a fault and its target: every kind comes once before any is repeated."""
        while True:
            if not self._bag:
                self._bag = self._dice.sample(self._actions, len(self._actions))
            deed = self._bag.pop()
            if targets := [target for target in deed.targets if target != besides]:
                return deed, self._dice.choice(targets)

    def _all_deeds(self) -> list[Deed]:
        platform, random = self._platform, self._dice.uniform
        services, proxies, inventory = list(self._services), list(self._proxies), [platform.shop.inventory.name]
        return [
            Deed("FLUSHALL", ["valkey"], (0.0, 0.5), self._flushed),
            Deed("kill -9", ["valkey"], (0.1, 2.0), lambda _: self._down(platform.valkey, signal.SIGKILL)),
            Deed("immediate stop", ["postgres"], (0.1, 3.0), lambda _: self._down(platform.postgres, signal.SIGQUIT)),
            Deed("kill -9", services, (0.0, 2.0), self._killed),
            Deed("SIGSTOP past the lease", services, PAST_THE_LEASE, self._frozen),
            Deed("delay", proxies, A_WHILE, lambda name: self._spoiled(name, "delay", random(0.01, 1.2))),
            Deed("stall", proxies, A_WHILE, lambda name: self._spoiled(name, "stall")),
            Deed("cut", proxies, A_WHILE, lambda name: self._spoiled(name, "cut", int(random(0, 400)))),
            Deed("reset", proxies, A_WHILE, lambda name: self._spoiled(name, "reset")),
            Deed("refuse", proxies, A_WHILE, lambda name: self._spoiled(name, "refuse")),
            Deed(
                "gremlin latency",
                inventory,
                A_WHILE,
                lambda _: self._gremlin(latency=True, latency_ms=int(random(200, 3000)), latency_rate=random(0.3, 1)),
            ),
            Deed("gremlin crash", inventory, A_WHILE, lambda _: self._gremlin(crash_rate=random(0.3, 1))),
            Deed(
                "gremlin partial failure",
                inventory,
                A_WHILE,
                lambda _: self._gremlin(partial_failure_rate=random(0.3, 1)),
            ),
        ]

    @contextmanager
    def _flushed(self, _: str) -> Iterator[None]:
        with suppress(redis.RedisError):
            self._platform.redis.flushall()
            self._fired["FLUSHALL"] += 1
        yield

    @contextmanager
    def _down(self, mortal: Mortal, number: signal.Signals) -> Iterator[None]:
        self._fired[f"{number.name} of {mortal.server.name}"] += mortal.kill(number)
        try:
            yield
        finally:
            mortal.start()

    @contextmanager
    def _killed(self, name: str) -> Iterator[None]:
        service = self._services[name]
        service.kill()
        self._fired[f"SIGKILL of {name}"] += exit_code(service.process) == -signal.SIGKILL
        try:
            yield
        finally:
            self._raise(service)

    @contextmanager
    def _frozen(self, name: str) -> Iterator[None]:
        service = self._services[name]
        process = psutil.Process(service.process.pid)
        service.signal(signal.SIGSTOP)
        eventually(lambda: process.status() == psutil.STATUS_STOPPED, what=f"{name} stopped")
        self._fired[f"SIGSTOP of {name}"] += 1
        try:
            yield
        finally:
            service.signal(signal.SIGCONT)

    @contextmanager
    def _spoiled(self, name: str, kind: Kind, amount: float = 0) -> Iterator[None]:
        self._proxies[name].set(kind, amount)
        try:
            yield
        finally:
            self._proxies[name].heal()

    @contextmanager
    def _gremlin(self, **wish: float) -> Iterator[None]:
        """Turn gremlins on, if inventory and Valkey are available; their lease ends soon in any case."""
        if activation := self._platform.chaos("POST", **wish, seed=self._dice.getrandbits(32), ttl_seconds=10):
            self._gremlins[activation["id"]] = {}
        yield
        self._platform.chaos("DELETE")

    def _raise(self, service: Service) -> None:
        service.start()
        try:
            service.wait_ready(SERVICE_WITHIN)
        except AssertionError as error:
            self.trouble(f"{service.name} did not start again: {error}")

    def _rest(self, between: tuple[float, float], until: float) -> None:
        """Wait, at most until `until`."""
        time.sleep(max(0.0, min(self._dice.uniform(*between), until - time.monotonic())))

    def _tell(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {what}")


def run(directory: Path, *, seed: int, seconds: float, rate: float, progress: Callable[[str], None]) -> NemesisReport:
    """Start a platform in `directory`, inject faults for `seconds` at `rate` orders per second, then audit it.

    Everything that was started has ended when this returns or raises. Call it from the main thread.
    """
    prefix = f"nemesis-{seed}-"
    journal = directory / "journal.jsonl"
    with ExitStack() as stack:
        platform = Platform(directory, stack)
        writer = stack.enter_context(JournalWriter(journal, f"nemesis {seed}", prefix))
        sending = stack.enter_context(LoopThread("load"))
        nemesis = Nemesis(platform, seed, progress)
        urls = [order.url for order in platform.shop.orders]
        load = Load(urls, writer, seed=seed, rate=rate, seconds=seconds, prefix=prefix)
        under_way = sending.submit(load.run())
        nemesis.rage(seconds)
        progress("all faults are over; waiting for the last answers, and for every order to settle")
        orders = stack.enter_context(psycopg.connect(platform.orders_url, autocommit=True))
        healed_at: datetime = _one(orders, b"SELECT now()")
        nemesis.heal()
        try:
            under_way.result(TAIL)
        except TimeoutError:
            nemesis.trouble(f"clients still wait for answers {TAIL:.0f} s after the last fault")
            under_way.cancel()
        requeued = _settled(platform, orders, nemesis)
        settling = settling_of(orders, healed_at)
        found = audit(Sources(platform.orders_url, platform.inventory_url), journal, settle_limit=0.0)
    tally = load.tally
    return NemesisReport(
        verdict=verdict_of(found, tally, nemesis.troubles, nemesis.fired),
        seed=seed,
        seconds=seconds,
        rate=rate,
        sent=tally.sent,
        answers=tally.answers,
        faults=nemesis.fired,
        acknowledged=tally.acknowledged,
        unknown=tally.unknown,
        statuses=settling.statuses,
        requeued=requeued,
        settled_after=settling.after,
        settling_p50=settling.p50,
        settling_p99=settling.p99,
        contradictions=tally.contradictions,
        troubles=nemesis.troubles,
        audit=found,
        command=f"python -m tests.faults.nemesis --seed {seed} --minutes {seconds / 60:g} --rate {rate:g}",
    )


def _one(conn: psycopg.Connection, query: bytes) -> Any:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def _settled(platform: Platform, orders: psycopg.Connection, nemesis: Nemesis) -> int:
    """Wait until no order is unfinished, and requeue dead ones; return the number of those."""

    def none_unfinished() -> bool:
        return not _one(orders, b"SELECT count(*) FROM orders WHERE status IN ('pending', 'queued')")

    requeued = 0
    try:
        eventually(none_unfinished, SETTLED_WITHIN, "every order settled")
        answer = platform.shop.operator.post(f"{platform.shop.order.url}/api/admin/queue/requeue", json={"all": True})
        requeued = len(answer.raise_for_status().json()["requeued"])
        eventually(none_unfinished, SETTLED_WITHIN, "every requeued order settled")
    except AssertionError as error:
        nemesis.trouble(str(error))
    return requeued


def _is_well(url: str) -> bool:
    """Return True if a service has all of its dependencies, including Redis."""
    return _health(url).get("status") == "ok"


def _health(url: str) -> dict[str, Any]:
    try:
        said: dict[str, Any] = httpx.get(f"{url}/health/ready", timeout=3).json()
    except httpx.HTTPError as error:
        return {"error": repr(error)}
    return said


def main() -> int:
    """Run the nemesis. Return 0 if everything is clean, 11 on a violation, 12 if inconclusive, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=50.0, help="orders per second")
    parser.add_argument("--directory", type=Path, help="where data, logs and journal are to stay; must not exist yet")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    with _directory(asked.directory) as directory:
        report = run(directory, seed=asked.seed, seconds=asked.minutes * 60, rate=asked.rate, progress=_tell)
        encoded = msgspec.json.format(msgspec.json.encode(report))
        (directory / "report.json").write_bytes(encoded)
    print(encoded.decode())  # noqa: T201 - it is a command
    return {"clean": 0, "violated": 11}.get(report.verdict, 12)


@contextmanager
def _directory(wanted: Path | None) -> Iterator[Path]:
    """Yield the requested directory, else a temporary one; PostgreSQL's account can traverse both."""
    if wanted:
        wanted.mkdir(parents=True)
        yield wanted.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="valerix-nemesis-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
