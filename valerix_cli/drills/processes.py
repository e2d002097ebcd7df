"""Striking the processes of the platform on this machine, so that each stroke undoes itself if we are killed."""

import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError, UnreachableError, WaitedTooLongError
from valerix_cli.local import holds
from valerix_cli.local.claim import running
from valerix_cli.local.identity import Handle, child_of
from valerix_cli.local.state import Stack, read_secrets
from valerix_cli.reasons import why

BACK_WITHIN = 60.0  # seconds that a process may take to be back
_GLANCE = 0.05  # seconds
_SERVERS = ("redis", "postgres")
_GENTLY = {"postgres": signal.SIGINT}  # its own "fast" shutdown; SIGTERM would wait for every client to leave

_WAKE = """import os, signal, sys, time
seconds, pid, descriptor = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
time.sleep(seconds)
os.kill(pid, signal.SIGCONT) if descriptor < 0 else signal.pidfd_send_signal(descriptor, signal.SIGCONT)
"""


class Process(msgspec.Struct, frozen=True):
    """One process as the supervisor sees it; `pid` is None while it does not run."""

    name: str
    pid: int | None
    state: str | None
    start_time: int | None = None
    """Tells it from another process that gets its pid later."""

    @property
    def is_running(self) -> bool:
        """Whether it is ready: one that has just ended may be called running for another moment."""
        return self.state == "running" and self.pid is not None


class Victims(Protocol):
    """What a drill strikes, on this machine or in a cluster. What goes wrong is a CliError."""

    def of(self, target: str) -> list[Process]: ...
    def kill(self, process: Process, down_for: float | None, /) -> None: ...
    def stop(self, process: Process, seconds: float) -> None: ...
    def go_on(self, process: Process) -> None: ...
    def restart(self, targets: Sequence[Process]) -> Iterator[Process]: ...
    def release(self, name: str) -> None: ...
    def until_back(self, before: Process) -> None: ...
    def all_run(self) -> bool: ...
    def flush_redis(self) -> int: ...


def victims(context: Context, directory: Path) -> Victims:
    """Those of a context: pods, or the processes of the platform that runs from `directory`."""
    if context.forwards is not None:
        from valerix_cli.drills.pods import Pods  # noqa: PLC0415 - an extra, and slow

        return Pods(context.forwards.api, context.forwards.namespace)
    return Processes(directory)


class Processes:
    """The processes of the platform that runs from `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._wakers: dict[str, subprocess.Popen[bytes]] = {}

    def of(self, target: str) -> list[Process]:
        """The replicas of a service, one of them, or a server. Raises UnreachableError when there are none."""
        found = [one for one in self._all() if one.name == target or one.name.rpartition("-")[0] == target]
        if not found:
            raise UnreachableError(
                f"There is no {target} to strike.",
                f"it is not run by the platform in {self.directory}",
                "valerix status",
            )
        return found

    def kill(self, process: Process, down_for: float | None) -> None:
        """End it at once; it stays down for so many seconds, or comes back as soon as the supervisor starts it."""
        if down_for:
            holds.hold(self.directory, process.name, down_for)
        self._signal(process, signal.SIGKILL)

    def stop(self, process: Process, seconds: float) -> None:
        """Stop it in its tracks; a process of its own lets it go on after so many seconds, whatever becomes of us."""
        with self._handle(process) as handle:
            kept = () if handle.descriptor is None else (handle.descriptor,)
            what = (str(seconds), str(handle.pid), str(*kept or (-1,)))
            nothing = subprocess.DEVNULL  # whoever waits for the end of our output must not wait for its end too
            self._wakers[process.name] = subprocess.Popen(  # noqa: S603 - the argv is ours # nosec B603
                [sys.executable, "-I", "-S", "-c", _WAKE, *what],
                start_new_session=True,
                pass_fds=kept,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
            )
            _send(handle, process.name, signal.SIGSTOP)

    def go_on(self, process: Process) -> None:
        self._signal(process, signal.SIGCONT)
        if waker := self._wakers.pop(process.name, None):
            waker.kill()
            waker.wait()

    def restart(self, targets: Sequence[Process]) -> Iterator[Process]:
        """Have each finish what it has in hand and end, one after the other, and yield it once it is back."""
        for process in targets:
            self._signal(process, _GENTLY.get(process.name, signal.SIGTERM))
            self.until_back(process)
            yield process

    def release(self, name: str) -> None:
        """Let it be started again."""
        holds.release(self.directory, name)

    def is_back(self, before: Process) -> bool:
        """Whether there is another process of that name by now, which is ready."""
        return any(one.name == before.name and one.is_running and one.pid != before.pid for one in self._all())

    def until_back(self, before: Process) -> None:
        """Raises WaitedTooLongError."""
        _until(lambda: self.is_back(before), f"{before.name} is not back.")

    def all_run(self) -> bool:
        return all(one.is_running for one in self._all())

    def flush_redis(self) -> int:
        """Lose everything that is in Redis. Returns how many keys that was."""
        from redis import Redis, RedisError  # noqa: PLC0415 - few drills need it

        stack, secrets = self._stack(), read_secrets(self.directory)
        server = stack.databases["redis"]
        password = secrets.redis_password if secrets and server.kind != "external" else None
        try:
            with Redis(server.host, server.port, password=password, socket_timeout=5) as client:
                keys = int(client.dbsize())
                client.flushall()
        except RedisError as error:
            raise UnreachableError("Redis was not flushed.", why(error), "valerix status") from error
        return keys

    def _signal(self, process: Process, number: signal.Signals) -> None:
        with self._handle(process) as handle:
            _send(handle, process.name, number)

    def _handle(self, process: Process) -> Handle:
        """Of a process of this platform, and of no other that has its pid by now. Raises CliError."""
        if process.pid is None:
            raise CliError(f"{process.name} was not struck.", "it does not run", "valerix status")
        try:
            return child_of(self.directory, process.pid, process.start_time)
        except ProcessLookupError as error:
            why = f"process {process.pid} has just ended, or does not belong to this platform"
            raise CliError(f"{process.name} was not struck.", why, "valerix status") from error

    def _all(self) -> list[Process]:
        stack = self._stack()
        services = [one for replicas in stack.services.values() for one in replicas]
        servers = [(name, stack.databases[name]) for name in _SERVERS if name in stack.databases]
        return [Process(one.name, one.pid, one.state, one.start_time) for one in services] + [
            Process(name, one.pid, one.state, one.start_time) for name, one in servers if one.kind != "external"
        ]

    def _stack(self) -> Stack:
        stack = running(self.directory)
        if stack is None:
            raise UnreachableError(
                "No platform runs here.", f"nothing runs from {self.directory}", "valerix up --detach"
            )
        return stack


def _send(handle: Handle, name: str, number: signal.Signals) -> None:
    try:
        handle.send(number)
    except ProcessLookupError as error:
        raise CliError(f"{name} was not struck.", "it has just ended", "valerix status") from error
    except PermissionError as error:
        raise CliError(
            f"{name} was not struck.", "it belongs to another user", "run it as the user who ran valerix up"
        ) from error


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BACK_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise WaitedTooLongError(what, f"{BACK_WITHIN:g} s were not enough", "valerix status; valerix logs")
        time.sleep(_GLANCE)
