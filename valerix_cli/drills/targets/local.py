"""Faults in the processes of the platform on this machine. Each fault ends even if this process is killed."""

import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from valerix_cli.drills.targets.base import Process
from valerix_cli.errors import CliError, UnreachableError
from valerix_cli.local import restart_holds
from valerix_cli.local.identity import Handle, child_of
from valerix_cli.local.instance import running
from valerix_cli.local.stack import Stack, read_secrets
from valerix_cli.reasons import why
from valerix_cli.waiting import require

RESTART_TIMEOUT = 60.0  # seconds
_SERVERS = ("redis", "postgres")
_SHUTDOWN_SIGNALS = {"postgres": signal.SIGINT}  # fast shutdown; SIGTERM waits for all clients to disconnect

_RESUME_TIMER = """import os, signal, sys, time
seconds, pid, descriptor = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
time.sleep(seconds)
os.kill(pid, signal.SIGCONT) if descriptor < 0 else signal.pidfd_send_signal(descriptor, signal.SIGCONT)
"""


class LocalProcesses:
    """The processes of the platform that runs from `directory`; a `LocalFaultTarget`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._resume_timers: dict[str, subprocess.Popen[bytes]] = {}

    def find(self, target: str) -> list[Process]:
        """Return the replicas of a service, one replica, or a server. Raises UnreachableError if there are none."""
        found = [one for one in self._all() if one.name == target or one.name.rpartition("-")[0] == target]
        if not found:
            raise UnreachableError(
                f"No process of {target} to inject a fault into.",
                f"it is not run by the platform in {self.directory}",
                "valerix status",
            )
        return found

    def kill(self, process: Process) -> None:
        """Kill a process with SIGKILL; the supervisor restarts it unless it is held down."""
        self._signal(process, signal.SIGKILL)

    def hold_down(self, name: str, seconds: float) -> None:
        """Keep the supervisor from restarting a process for `seconds`."""
        restart_holds.hold(self.directory, name, seconds)

    def release(self, name: str) -> None:
        """Let the supervisor restart a process that is held down."""
        restart_holds.release(self.directory, name)

    def stop(self, process: Process, seconds: float) -> None:
        """Stop a process with SIGSTOP. A detached helper sends SIGCONT after `seconds` even if we are killed."""
        with self._handle(process) as handle:
            descriptors = () if handle.descriptor is None else (handle.descriptor,)
            arguments = (str(seconds), str(handle.pid), str(*descriptors or (-1,)))
            null = subprocess.DEVNULL  # inherited pipes would keep readers of our output waiting for the helper
            self._resume_timers[process.name] = subprocess.Popen(  # noqa: S603 - the argv is ours # nosec B603
                [sys.executable, "-I", "-S", "-c", _RESUME_TIMER, *arguments],
                start_new_session=True,
                pass_fds=descriptors,
                stdin=null,
                stdout=null,
                stderr=null,
            )
            _send(handle, process.name, signal.SIGSTOP)

    def resume(self, process: Process) -> None:
        """Continue a stopped process with SIGCONT and end its timer."""
        self._signal(process, signal.SIGCONT)
        if timer := self._resume_timers.pop(process.name, None):
            timer.kill()
            timer.wait()

    def restart(self, processes: Sequence[Process]) -> Iterator[Process]:
        """Shut each process down gracefully and yield it once its successor is ready, one after the other."""
        for process in processes:
            self._signal(process, _SHUTDOWN_SIGNALS.get(process.name, signal.SIGTERM))
            self.wait_until_back(process)
            yield process

    def is_back(self, previous: Process) -> bool:
        """Return True if another process of that name is ready."""
        return any(one.name == previous.name and one.is_running and one.pid != previous.pid for one in self._all())

    def wait_until_back(self, previous: Process) -> None:
        """Wait until a process is replaced and ready. Raises TimeoutExpiredError."""
        require(
            lambda: self.is_back(previous),
            RESTART_TIMEOUT,
            f"{previous.name} is not back.",
            "valerix status; valerix logs",
        )

    def all_running(self) -> bool:
        """Return True if every process of the platform is ready."""
        return all(one.is_running for one in self._all())

    def flush_redis(self) -> int:
        """Delete every key in Redis. Returns the number of keys. Raises UnreachableError."""
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
        """Open a process of this platform, never another one that got its pid. Raises CliError."""
        if process.pid is None:
            raise CliError(f"No signal was sent to {process.name}.", "it does not run", "valerix status")
        try:
            return child_of(self.directory, process.pid, process.start_time)
        except ProcessLookupError as error:
            why = f"process {process.pid} has just ended, or does not belong to this platform"
            raise CliError(f"No signal was sent to {process.name}.", why, "valerix status") from error

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
        raise CliError(f"No signal was sent to {name}.", "it has just ended", "valerix status") from error
    except PermissionError as error:
        raise CliError(
            f"No signal was sent to {name}.", "it belongs to another user", "run it as the user who ran valerix up"
        ) from error
