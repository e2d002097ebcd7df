"""Runs embedded servers, each in its own directory and on its own loopback port.

The supervisor runs their commands itself; tests and scripts use `running`:

    with running(PostgresServer.at(directory, password="...", fsync=False)) as postgres:
        psycopg.connect(postgres.url("postgres"))
    with running(ValkeyServer.at(directory, password="...")) as valkey:
        redis.Redis.from_url(valkey.url())
"""

import os
import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar

from valerix_cli.errors import UnreachableError
from valerix_cli.local.launch import Launch
from valerix_cli.local.ports import free_port, is_free
from valerix_cli.local.postgres import ADMIN, PostgresServer, unprivileged_account
from valerix_cli.local.valkey import ValkeyServer
from valerix_cli.waiting import wait_for

__all__ = ["ADMIN", "PostgresServer", "Server", "ValkeyServer", "running", "unprivileged_account"]

_PORT_ATTEMPTS = 5
_TIMEOUT = 10.0
_POLL_INTERVAL = 0.02


class Server(Protocol):
    """A server that can be started, watched and stopped."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def stop_signal(self) -> signal.Signals: ...

    def on_port(self, port: int) -> Self: ...

    def making(self) -> Launch | None:
        """Return the command to run once before the first start; None if that was done."""

    def made(self) -> None:
        """Record that the command of `making` has succeeded."""

    def running(self) -> Launch:
        """Return the command of the server."""

    def set_aside(self) -> Path | None:
        """Move its data aside, so that it can start empty, and return the new place.

        None if it has no data, or if its data must not be lost.
        """

    def answers(self) -> bool:
        """Return whether this server accepts commands: no other one has the password."""


AServer = TypeVar("AServer", bound=Server)


@contextmanager
def running(server: AServer, *, log: Path | None = None, within: float = 30) -> Iterator[AServer]:
    """Start `server`, yield it once it accepts connections, and stop it at the end of the block.

    The yielded server has another port if another process has taken the given one. Its output goes to `log`. Raises
    UnreachableError with the end of the output if it does not start `within` that many seconds.
    """
    with Path(log or os.devnull).open("ab") as output:
        if making := server.making():
            process = making.start(output)
            if process.wait(within) != 0:
                raise did_not_start(server, log)
            server.made()
        started, process = _started(server, output.fileno(), log, time.monotonic() + within)
        try:
            yield started
        finally:
            _stop(process, server.stop_signal)


def did_not_start(server: Server, log: Path | None) -> UnreachableError:
    message = log.read_text(errors="replace").strip().splitlines()[-3:] if log else []
    return UnreachableError(
        f"The embedded {server.name} did not start.",
        " ".join(message) or "it printed no error",
        f"read {log or 'its log'}",
    )


def _started(
    server: AServer, output: int, log: Path | None, deadline: float
) -> tuple[AServer, subprocess.Popen[bytes]]:
    for _ in range(_PORT_ATTEMPTS):
        process = server.running().start(output)
        try:
            if _answers(server, process, deadline):
                return server, process
        except BaseException:
            _stop(process, signal.SIGKILL)
            raise
        _stop(process, signal.SIGKILL)
        if is_free(server.port):  # a free port was not the cause
            break
        server = server.on_port(free_port())
    raise did_not_start(server, log)


def _answers(server: Server, process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait until the server accepts connections; False if it has ended, or at the deadline."""

    def state() -> str:
        return "ended" if process.poll() is not None else "ready" if server.answers() else ""

    return wait_for(state, deadline - time.monotonic()) == "ready"


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Stop the process, and always wait for it: an unreaped postmaster prevents the next start."""
    process.send_signal(number)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TIMEOUT)
        return
    process.kill()
    process.wait()
