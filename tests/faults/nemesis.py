"""Breaks a whole platform of real processes at random, under load, and has it audited when it is left in peace.

    python -m tests.faults.nemesis --seed 7 --minutes 2 --rate 50

The seed decides what is sent and which fault follows which; how many there is time for depends on the machine.
"""

import argparse
import signal
import subprocess
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
from typing import Any, Literal, NoReturn, Self

import httpx
import msgspec
import psutil
import psycopg
import redis

from services.common.postgres import migrate
from tests.faults.load import STOCK, Load, Tally
from tests.faults.proxy import Kind, LoopThread, Proxy
from tests.integration.life.shop import Shop
from tests.processes import OPERATOR, Processes, Service, eventually, processes
from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.journal import JournalWriter
from valerix_cli.local.servers import PostgresServer, Server, ValkeyServer

PASSWORD = "only-for-this-run"
SETTINGS = {"LEASE_SECONDS": "2", "BREAKER_OPEN_SECONDS": "2", "INVENTORY_TIMEOUT_SECONDS": "1"}
PAST_THE_LEASE = (2.2, 4.5)  # seconds
SERVER_WITHIN = 30.0  # seconds for a database to be back, on its port and with its data
SERVICE_WITHIN = 30.0  # seconds for a service to be ready once everything it needs is there
SETTLED_WITHIN = 120.0  # seconds
TAIL = 120.0  # seconds for the last requests to be answered or given up
TWO_AT_ONCE = 0.35  # of the times
A_WHILE = (0.5, 4.0)  # seconds

Verdict = Literal["clean", "violated", "unsettled", "inconclusive"]


class NemesisReport(msgspec.Struct, frozen=True):
    """What was done to the platform and what it made of it.

    `violated`: two answers contradict each other, or the audit found an effect that may not be. `unsettled`: an order
    did not come to its end, or a process did not recover. `inconclusive`: no fault fired, or no order was acknowledged.
    `faults` counts those that really hit, `sent` orders by kind, `answers` requests by what came back. Times are in
    seconds; `settled_after` is what the orders placed under faults took to settle once these were over, None if one
    never did.
    """

    verdict: Verdict
    seed: int
    seconds: float
    rate: float
    sent: dict[str, int]
    answers: dict[str, int]
    faults: dict[str, int]
    acknowledged: int
    unknown: int
    statuses: dict[str, int]
    requeued: int
    settled_after: float | None
    settling_p50: float | None
    settling_p99: float | None
    contradictions: list[str]
    troubles: list[str]
    audit: Audit
    command: str


class Mortal:
    """A database server that may be killed and started again, on the same port and with the same data."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if making := self.server.making():
            with self._log.open("ab") as output:
                process = making.start(output)
            assert process.wait(SERVER_WITHIN) == 0, self._log.read_text()[-2000:]
            self.server.made()
        try:
            self.start()
        except BaseException:
            self.kill(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(self.server.stop_signal)

    def start(self) -> None:
        """Return once it answers. A try may fail: the last of its predecessor's processes may still be on its way out.

        To be called by the main thread: the server dies with the thread that started it.
        """
        eventually(self._is_up, SERVER_WITHIN, f"{self.server.name} up; its log: {self._log}")

    def kill(self, number: signal.Signals) -> bool:
        """Have it end by a signal, and wait for that. Return whether it was alive."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return True

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as output:
                self._process = self.server.running().start(output)
        return self.server.answers()


class Platform:
    """One inventory, two order replicas, two workers, with a proxy on each way from one process to the next."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        for name in ("postgres", "valkey", "logs"):
            (directory / name).mkdir()
        logs = directory / "logs"
        database = PostgresServer.at(directory / "postgres", password=PASSWORD)
        self.postgres = stack.enter_context(Mortal(database, logs / "postgres.log"))
        cache = ValkeyServer.at(directory / "valkey", password=PASSWORD)
        self.valkey = stack.enter_context(Mortal(cache, logs / "valkey.log"))
        self.redis = stack.enter_context(redis.Redis.from_url(cache.url(), socket_timeout=2))
        self.orders_url, self.inventory_url = _migrated(database, "order"), _migrated(database, "inventory")
        self._processes = stack.enter_context(processes(logs, self.orders_url, self.inventory_url, cache.url()))
        self._stack = stack
        self.proxies: list[Proxy] = []
        self.shop = Wired(self._processes, self.orders_url, self.inventory_url, self._proxied)
        for item_id, quantity in STOCK.items():
            self.shop.stock(item_id, quantity)
        self._processes.start(*self.services)

    @property
    def services(self) -> list[Service]:
        return self.shop.everyone

    def chaos(self, method: str, **wish: Any) -> dict[str, Any]:
        """Ask for gremlins; what comes back when inventory is there to say something, else empty."""
        url = f"{self.shop.inventory.url}/api/admin/chaos"
        try:
            answer = httpx.request(method, url, json=wish or None, headers=OPERATOR, timeout=3)
            answer.raise_for_status()
        except httpx.HTTPError:
            return {}
        said: dict[str, Any] = answer.json()
        return said

    def _proxied(self, name: str, port: int) -> int:
        proxy = self._stack.enter_context(Proxy(port, name=name))
        self.proxies.append(proxy)
        return proxy.port


class Wired(Shop):
    """A shop whose processes find each other and their databases through proxies."""

    def __init__(
        self, services: Processes, order_database: str, inventory_database: str, proxied: Callable[[str, int], int]
    ) -> None:
        self.order_database, self.inventory_database = order_database, inventory_database
        self.services = services
        self.client, self.operator = services.client, services.operator

        def database(url: str, name: str) -> str:
            port = httpx.URL(url).port
            assert port is not None
            return url.replace(f":{port}/", f":{proxied(f'{name} to postgres', port)}/")

        def caller(make: Callable[..., Service], name: str) -> Service:
            inventory = f"http://127.0.0.1:{proxied(f'{name} to inventory', self.inventory.port)}"
            return make(inventory, **SETTINGS, DATABASE_URL=database(order_database, name))

        self.inventory = services.inventory(**SETTINGS, DATABASE_URL=database(inventory_database, "inventory-1"))
        self.orders = [caller(services.order, name) for name in ("order-1", "order-2")]
        self.workers = [caller(services.worker, name) for name in ("worker-1", "worker-2")]
        self.worker = self.workers[0]

    @property
    def everyone(self) -> list[Service]:
        return [self.inventory, *self.orders, *self.workers]


class Deed(msgspec.Struct, frozen=True):
    """A kind of fault: `happen` does it to one of `targets` on entering and undoes it on leaving.

    `lasts` is between so many seconds.
    """

    kind: str
    targets: list[str]
    lasts: tuple[float, float]
    happen: Callable[[str], AbstractContextManager[None]]


class Nemesis:
    """Does one thing after another to a platform, some of the time two at once, and undoes each."""

    def __init__(self, platform: Platform, seed: int, say: Callable[[str], None]) -> None:
        self._platform = platform
        self._dice = Random(seed)  # noqa: S311 - a seed is the point
        self._say = say
        self._began = time.monotonic()
        self._services = {service.name: service for service in platform.services}
        self._proxies = {proxy.name: proxy for proxy in platform.proxies}
        self._deeds = self._all_deeds()
        self._bag: list[Deed] = []
        self._fired: Counter[str] = Counter()
        self._gremlins: dict[str, dict[str, int]] = {}
        self.troubles: list[str] = []

    @property
    def fired(self) -> dict[str, int]:
        """How often each fault really hit: processes that died or stood, connections touched, gremlins' hits."""
        total = self._fired.copy()
        for proxy in self._proxies.values():
            total.update({f"{kind}, connections": count for kind, count in proxy.fired.items() if kind != "pass"})
        for hits in self._gremlins.values():
            total.update({f"gremlin {gremlin}, hits": count for gremlin, count in hits.items() if count})
        return dict(sorted(total.items()))

    def rage(self, seconds: float) -> None:
        """Do things until the time is up, and undo the last of them."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._rest((0.2, 1.2), until)
            with ExitStack() as undo:
                spoiled = self._begin(undo, until)
                if self._dice.random() < TWO_AT_ONCE:
                    self._begin(undo, until, besides=spoiled)
            self.look_around()

    def heal(self) -> None:
        """Leave everything in peace, and see that everybody recovers."""
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
        """Note whom the gremlins hit, and who is dead without having been killed; raise those."""
        seen = self._platform.chaos("GET")
        for activation in filter(None, [seen.get("live"), *seen.get("recent", [])]):
            known = self._gremlins.get(activation["id"], {})
            for gremlin, tally in activation["counts"].items():
                known[gremlin] = max(known.get(gremlin, 0), tally["hits"])
        for service in self._platform.services:
            if not service.is_alive:
                self.trouble(f"{service.name} died by itself, exit {service.process.exitcode}")
                self._raise(service)

    def trouble(self, what: str) -> None:
        """Note that something is not as it must be."""
        self._tell(f"TROUBLE: {what}")
        self.troubles.append(what)

    def _begin(self, undo: ExitStack, until: float, besides: str | None = None) -> str:
        """Do the next thing to any target but `besides`, and let it last for a while; return the target."""
        deed, target = self._draw(besides)
        self._tell(f"{deed.kind}: {target}")
        undo.enter_context(deed.happen(target))
        self._rest(deed.lasts, until)
        return target

    def _draw(self, besides: str | None) -> tuple[Deed, str]:
        """A deed and its target: each kind comes before one comes again."""
        while True:
            if not self._bag:
                self._bag = self._dice.sample(self._deeds, len(self._deeds))
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
        self._fired[f"SIGKILL of {name}"] += service.process.exitcode == -signal.SIGKILL
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
        """Let gremlins loose, if inventory and Valkey are there to do it; their lease ends soon in any case."""
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
        """Let time pass, but not beyond `until`."""
        time.sleep(max(0.0, min(self._dice.uniform(*between), until - time.monotonic())))

    def _tell(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {what}")


def run(directory: Path, *, seed: int, seconds: float, rate: float, progress: Callable[[str], None]) -> NemesisReport:
    """Start a platform in `directory`, break it for so many seconds at `rate` orders a second, leave it and audit it.

    Everything that was started is gone when this returns or raises. To be called by the main thread.
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
        settling = _settling(orders, healed_at)
        found = audit(Sources(platform.orders_url, platform.inventory_url), journal, settle_limit=0.0)
    tally = load.tally
    return NemesisReport(
        verdict=_verdict(found, tally, nemesis.troubles, nemesis.fired),
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
    """Wait until no order is unfinished, giving dead ones another chance; return how many of those there were."""

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
    """Whether a service has all that it needs, Redis too."""
    return _health(url).get("status") == "ok"


def _health(url: str) -> dict[str, Any]:
    try:
        said: dict[str, Any] = httpx.get(f"{url}/health/ready", timeout=3).json()
    except httpx.HTTPError as error:
        return {"error": repr(error)}
    return said


def _migrated(server: PostgresServer, service: str) -> str:
    """The URL of a new database with the tables of that service."""
    name = f"{service}_db"
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    migrate(server.url(name), f"services.{service}")
    return server.url(name)


class Settling(msgspec.Struct, frozen=True):
    """What the orders came to, and how long that took: since the healing, and each since it was accepted."""

    statuses: dict[str, int]
    after: float | None
    p50: float | None
    p99: float | None


def _settling(orders: psycopg.Connection, healed_at: datetime) -> Settling:
    statuses: dict[str, int] = dict(orders.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall())
    last = orders.execute(
        "SELECT extract(epoch FROM max(updated_at) - %(at)s)::float8 FROM orders WHERE created_at < %(at)s",
        {"at": healed_at},
    ).fetchone()
    each = orders.execute(
        """
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took), percentile_cont(0.99) WITHIN GROUP (ORDER BY took)
        FROM (SELECT extract(epoch FROM updated_at - created_at)::float8 AS took
              FROM orders WHERE status IN ('confirmed', 'failed')) AS final
        """
    ).fetchone()
    assert last is not None
    assert each is not None
    unfinished = statuses.keys() & {"pending", "queued"}
    return Settling(statuses, None if unfinished or last[0] is None else round(max(0.0, last[0]), 2), *each)


def _verdict(found: Audit, tally: Tally, troubles: list[str], faults: dict[str, int]) -> Verdict:
    if found.verdict == "violated" or tally.contradictions:
        return "violated"
    if found.verdict == "unsettled" or troubles:
        return "unsettled"
    return "clean" if faults and tally.acknowledged else "inconclusive"


def main() -> int:
    """Exit 0 when all is clean, 11 when something is violated, 12 for anything in between, 130 after Ctrl-C."""
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
    """What was asked for, else a directory that is gone at the end; PostgreSQL's account may pass through either."""
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
