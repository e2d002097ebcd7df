"""Random faults of a platform's processes and connections, each reverted after a while."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from random import Random
from typing import Any

import httpx
import msgspec
import psutil
import redis

from tests.faults.platform import Mortal, Platform
from tests.faults.proxy import Kind
from tests.fork_server import exit_code
from tests.processes import Service, eventually

PAST_THE_LEASE = (2.2, 4.5)  # seconds
SERVICE_WITHIN = 30.0  # seconds for a service to become ready once its dependencies are available
TWO_AT_ONCE = 0.35  # probability of a second fault
A_WHILE = (0.5, 4.0)  # seconds


class FaultKind(msgspec.Struct, frozen=True):
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
        self._actions = self._all_faults()
        self._bag: list[FaultKind] = []
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

    def inject_faults(self, seconds: float) -> None:
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
                health = _health(service.url)
                self.trouble(f"{service.name} is not well {SERVICE_WITHIN:.0f} s after the last fault: {health}")

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
        fault, target = self._draw(besides)
        self._tell(f"{fault.kind}: {target}")
        undo.enter_context(fault.happen(target))
        self._rest(fault.lasts, until)
        return target

    def _draw(self, besides: str | None) -> tuple[FaultKind, str]:
        """Return a fault and its target: every kind comes once before any is repeated."""
        while True:
            if not self._bag:
                self._bag = self._dice.sample(self._actions, len(self._actions))
            fault = self._bag.pop()
            if targets := [target for target in fault.targets if target != besides]:
                return fault, self._dice.choice(targets)

    def _all_faults(self) -> list[FaultKind]:
        platform, random = self._platform, self._dice.uniform
        services, proxies, inventory = list(self._services), list(self._proxies), [platform.shop.inventory.name]
        return [
            FaultKind("FLUSHALL", ["valkey"], (0.0, 0.5), self._flushed),
            FaultKind("kill -9", ["valkey"], (0.1, 2.0), lambda _: self._down(platform.valkey, signal.SIGKILL)),
            FaultKind(
                "immediate stop", ["postgres"], (0.1, 3.0), lambda _: self._down(platform.postgres, signal.SIGQUIT)
            ),
            FaultKind("kill -9", services, (0.0, 2.0), self._killed),
            FaultKind("SIGSTOP past the lease", services, PAST_THE_LEASE, self._frozen),
            FaultKind("delay", proxies, A_WHILE, lambda name: self._spoiled(name, "delay", random(0.01, 1.2))),
            FaultKind("stall", proxies, A_WHILE, lambda name: self._spoiled(name, "stall")),
            FaultKind("cut", proxies, A_WHILE, lambda name: self._spoiled(name, "cut", int(random(0, 400)))),
            FaultKind("reset", proxies, A_WHILE, lambda name: self._spoiled(name, "reset")),
            FaultKind("refuse", proxies, A_WHILE, lambda name: self._spoiled(name, "refuse")),
            FaultKind(
                "gremlin latency",
                inventory,
                A_WHILE,
                lambda _: self._gremlin(latency=True, latency_ms=int(random(200, 3000)), latency_rate=random(0.3, 1)),
            ),
            FaultKind("gremlin crash", inventory, A_WHILE, lambda _: self._gremlin(crash_rate=random(0.3, 1))),
            FaultKind(
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


def _is_well(url: str) -> bool:
    """Return True if a service has all of its dependencies, including Redis."""
    return _health(url).get("status") == "ok"


def _health(url: str) -> dict[str, Any]:
    try:
        health: dict[str, Any] = httpx.get(f"{url}/health/ready", timeout=3).json()
    except httpx.HTTPError as error:
        return {"error": repr(error)}
    return health
