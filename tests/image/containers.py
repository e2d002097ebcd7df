"""Real containers of the image, on this machine's network, as confined as manifests/components/restricted does it."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tests.image.base import IMAGE, LIMITS, podman
from tests.processes import OPERATOR_TOKEN, SERVICE_TOKEN, eventually
from valerix_cli.local.ports import free_port

CONFINED = (
    "--network", "host", *LIMITS,
    "--read-only", "--read-only-tmpfs=false",  # not even /tmp is writable
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--memory", "512m",
    "--no-healthcheck",  # podman needs systemd for it, which may be missing; tests poll themselves
)  # fmt: skip
TOKENS = {"VALERIX_SERVICE_TOKENS": SERVICE_TOKEN, "VALERIX_OPERATOR_TOKENS": OPERATOR_TOKEN}
FRONTEND = {"VALERIX_OPERATOR_TOKEN": OPERATOR_TOKEN, "VALERIX_DASHBOARD_PASSWORD": "d-5b8e02f7a1c94d36"}
WITHIN = 30.0  # seconds for podman and a service to start on a busy machine

ELSEWHERE = tempfile.gettempdir()
"""Working directory of podman: it leaves a file `oom` there when a container runs out of memory."""


def call(*arguments: str) -> str:
    """Return podman's output. Fails with its stderr."""
    done = subprocess.run([*podman(), *arguments], cwd=ELSEWHERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def once(command: Sequence[str], *options: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run one command in a new container to its end."""
    more = [*CONFINED, *options, *_environment_arguments(environ), IMAGE, *command]
    command = [*podman(), "run", "--rm", *more]
    return subprocess.run(command, cwd=ELSEWHERE, capture_output=True, text=True, timeout=120, check=False)


def inspect() -> dict[str, Any]:
    """Return podman's description of the image."""
    found: list[dict[str, Any]] = json.loads(call("image", "inspect", IMAGE))
    return found[0]


class Container:
    """A service in a container."""

    def __init__(self, module: str, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = _environment_arguments({"VALERIX_PORT": str(self.port), "VALERIX_REPLICA": module} | dict(environ))
        self.id = call("run", "--detach", *CONFINED, *arguments, IMAGE, "python", "-m", module)

    @property
    def state(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(call("container", "inspect", self.id))
        return found[0]

    @property
    def log(self) -> str:
        done = subprocess.run([*podman(), "logs", self.id], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr)[-2000:]

    def wait_alive(self) -> None:
        eventually(self._is_alive, WITHIN, f"{self.url} is alive")

    def signal(self, name: str) -> None:
        call("kill", "--signal", name, self.id)

    def wait_ended(self, within: float) -> int:
        """Wait for it to end and return its exit code."""
        eventually(lambda: self.state["State"]["Status"] == "exited", within, f"ended; its log:\n{self.log}")
        code: int = self.state["State"]["ExitCode"]
        return code

    def execute(self, *command: str, **environ: str) -> int:
        """Run a command in the container, as Docker runs a health check, and return its exit code."""
        more = [*_environment_arguments(environ), self.id, *command]
        return subprocess.run([*podman(), "exec", *more], capture_output=True, check=False).returncode

    def remove(self) -> None:
        call("rm", "--force", "--time", "0", self.id)

    def _is_alive(self) -> bool:
        assert self.state["State"]["Running"], f"it ended; its log:\n{self.log}"
        try:
            return httpx.get(f"{self.url}/health/live", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class Containers:
    """The containers of a test."""

    def __init__(self, order_database: str, inventory_database: str, redis_url: str) -> None:
        self._backing = TOKENS | {"VALERIX_REDIS_URL": redis_url}
        self.order_database, self.inventory_database = order_database, inventory_database
        self._started: list[Container] = []

    def inventory(self) -> Container:
        return self._start("services.inventory.asgi", self._backing, database_url=self.inventory_database)

    def order(self, inventory: Container) -> Container:
        return self._start(
            "services.order.asgi", self._backing, database_url=self.order_database, inventory_url=inventory.url
        )

    def worker(self, inventory: Container) -> Container:
        return self._start(
            "services.order.worker", self._backing, database_url=self.order_database, inventory_url=inventory.url
        )

    def frontend(self, order: Container, inventory: Container, worker: Container) -> Container:
        urls = {"order_url": order.url, "inventory_url": inventory.url, "worker_url": worker.url}
        return self._start("services.frontend.asgi", FRONTEND, **urls)

    def remove(self) -> None:
        for container in self._started:
            container.remove()

    def _start(self, module: str, environ: Mapping[str, str], **settings: str) -> Container:
        """Start a container and wait until it is live; settings are named as their fields."""
        more = {f"VALERIX_{name.upper()}": value for name, value in settings.items()}
        container = Container(module, dict(environ) | more)
        self._started.append(container)
        container.wait_alive()
        return container


@contextmanager
def containers(order_database: str, inventory_database: str, redis_url: str) -> Iterator[Containers]:
    made = Containers(order_database, inventory_database, redis_url)
    try:
        yield made
    finally:
        made.remove()


def _environment_arguments(environ: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in environ.items()]
