"""Real services as real processes, on the databases of a test; all of them end with the test.

They are forked (see tests.fork_server); tests/platform starts them as users do.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeVar

import httpx

from tests.fork_server import FORKS, be_module, end_of, exit_code, start
from tests.machine_load import slowdown
from valerix_cli.local.ports import free_port
from valerix_cli.local.probe import is_ready

SERVICE_TOKEN = "s-4f1c9a7be2d05836"
OPERATOR_TOKEN = "o-93be07d1c6a8f245"
DASHBOARD_PASSWORD = "d-5b0e2c94f1a7d836"
OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
SERVICE = {"Authorization": f"Bearer {SERVICE_TOKEN}"}

T = TypeVar("T")

ROOM = 2 * 1024**3  # bytes that a run may need


LEAST_WAIT = {"seconds": 30.0}
"""Minimum timeout of `eventually` in seconds. 0 in tests marked `timed`, which test durations."""


def eventually(look: Callable[[], T], within: float = 10.0, what: str = "") -> T:
    """Return the first true result of `look`; fail with the last false one after the timeout.

    `within` is in seconds of an idle machine; on a busy one, it is multiplied by `slowdown`.
    """
    within = max(within, LEAST_WAIT["seconds"])
    began = time.monotonic()
    while not (seen := look()):
        elapsed = time.monotonic() - began
        assert elapsed < within or elapsed < within * slowdown(), (
            f"not within {within} s{': ' + what if what else ''}; last seen: {seen!r}"
        )
        time.sleep(0.02)
    return seen


@contextmanager
def open_directory(what: str) -> Iterator[Path]:
    """Yield a directory that the database's account can access, unlike pytest's; remove it at the end.

    It is in memory if there is space: copying a template database creates some 300 files, which takes twenty times as
    long on a disk.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the directory in it gets a random name
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    with tempfile.TemporaryDirectory(prefix=f"valerix-{what}-", dir=memory if roomy else None) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stop processes during the block; those that have ended by then are ignored."""
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Service:
    """A process of a service."""

    def __init__(self, module: str, name: str, log: Path, environ: dict[str, str]) -> None:
        self.module, self.name, self.log = module, name, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environ | {"VALERIX_PORT": str(self.port), "VALERIX_REPLICA": name}
        self._process: ForkServerProcess | None = None

    @property
    def process(self) -> ForkServerProcess:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    @property
    def is_alive(self) -> bool:
        return self._process is not None and exit_code(self._process) is None

    def start(self, **environ: str) -> None:
        """Start, or start again, with more settings if given (names without their VALERIX_ prefix)."""
        more = {f"VALERIX_{name}": value for name, value in environ.items()}
        path = {"PATH": os.environ.get("PATH", "")}
        self.log.touch()
        self._process = FORKS.Process(target=be_module, args=(self.module, path | self.environ | more, self.log))
        start(self._process)

    def wait_ready(self, within: float = 60.0) -> None:
        eventually(self._is_ready, within, f"{self.name} ready; its log:\n{self.log.read_text()[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.wait_killed()

    def wait_killed(self, within: float = 10.0) -> int:
        """Wait for the process to end and return its exit code (-9 after SIGKILL)."""
        code = end_of(self.process, within)
        assert code is not None, f"{self.name} still runs after {within} s"
        return code

    def stop(self) -> int:
        """End it as a supervisor does and return its exit code."""
        self.process.terminate()
        return self.wait_killed(20)

    def _is_ready(self) -> bool:
        assert self.is_alive, f"{self.name} ended: {self.log.read_text()[-2000:]}"
        assert self.process.pid is not None
        return is_ready(self.url, self.process.pid, path="/health/live")


class Processes:
    """The services of a test."""

    def __init__(self, directory: Path, order_database: str, inventory_database: str, redis_url: str) -> None:
        self._directory = directory
        self._databases = {"order": order_database, "inventory": inventory_database}
        self._common = {
            "VALERIX_REDIS_URL": redis_url,
            "VALERIX_SERVICE_TOKENS": SERVICE_TOKEN,
            "VALERIX_OPERATOR_TOKENS": OPERATOR_TOKEN,
            "VALERIX_CHAOS_ALLOWED": "1",
            "VALERIX_RATE_LIMIT_PER_MINUTE": "0",
        }
        self._started: list[Service] = []
        self.client = httpx.Client(timeout=10)
        self.operator = httpx.Client(timeout=10, headers=OPERATOR)

    def log_tails(self, length: int = 3000) -> str:
        """Return the end of each service's log, for the message of a failed test."""
        return "\n".join(f"{log}:\n{log.read_text()[-length:]}" for log in sorted(self._directory.glob("*.log")))

    def inventory(self, **settings: str) -> Service:
        return self._make("services.inventory.asgi", "inventory", {}, settings)

    def order(self, *inventory: Service | str, **settings: str) -> Service:
        return self._make("services.order.asgi", "order", _pointing_at(inventory), settings)

    def worker(self, *inventory: Service | str, **settings: str) -> Service:
        return self._make("services.order.worker", "worker", _pointing_at(inventory), settings)

    def frontend(self, order: Service, inventory: Service, **settings: str) -> Service:
        variables = {
            "VALERIX_ORDER_URL": order.url,
            "VALERIX_OPERATOR_TOKEN": OPERATOR_TOKEN,
            "VALERIX_DASHBOARD_PASSWORD": DASHBOARD_PASSWORD,
        }
        return self._make("services.frontend.asgi", "frontend", variables | _pointing_at((inventory,)), settings)

    def start(self, *services: Service) -> None:
        """Start several at once and wait for all."""
        for service in services:
            service.start()
        for service in services:
            service.wait_ready()

    def end(self) -> None:
        self.client.close()
        self.operator.close()
        for service in self._started:
            if service.is_alive:
                service.signal(signal.SIGCONT)
                service.kill()

    def _make(self, module: str, role: str, environ: dict[str, str], settings: dict[str, str]) -> Service:
        name = f"{role}-{1 + sum(service.name.startswith(role) for service in self._started)}"
        database = {"VALERIX_DATABASE_URL": self._databases["inventory" if role == "inventory" else "order"]}
        more = {f"VALERIX_{name}": value for name, value in settings.items()}
        service = Service(module, name, self._directory / f"{name}.log", self._common | database | environ | more)
        self._started.append(service)
        return service


def start_all(services: list[Service], within: float = 90.0) -> None:
    """Start all services at once, which takes a while on a busy machine, and wait for them."""
    for service in services:
        service.start()
    for service in services:
        service.wait_ready(within)


@contextmanager
def processes(directory: Path, order_database: str, inventory_database: str, redis_url: str) -> Iterator[Processes]:
    made = Processes(directory, order_database, inventory_database, redis_url)
    try:
        yield made
    finally:
        made.end()


def _pointing_at(inventory: tuple[Service | str, ...]) -> dict[str, str]:
    urls = [service if isinstance(service, str) else service.url for service in inventory]
    return {"VALERIX_INVENTORY_URL": ",".join(urls)}
