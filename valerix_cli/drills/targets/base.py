"""The interface to the processes that a drill injects faults into."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec


class Process(msgspec.Struct, frozen=True):
    """One process or pod; `pid` is None while it is not running, and for pods.

    `start_time` distinguishes it from a later process with the same pid.
    """

    name: str
    pid: int | None
    state: str | None
    start_time: int | None = None

    @property
    def is_running(self) -> bool:
        """True if it is ready. A process that has just ended may keep the state `running` for a moment."""
        return self.state == "running" and self.pid is not None


class FaultTarget(Protocol):
    """The processes of a platform. All methods raise CliError on failure."""

    def find(self, target: str) -> list[Process]:
        """Return the replicas of a service, one replica, or a server. Raises UnreachableError if there are none."""

    def kill(self, process: Process) -> None:
        """Kill a process with SIGKILL; the platform restarts it."""

    def restart(self, processes: Sequence[Process]) -> Iterator[Process]:
        """Shut each process down gracefully and yield it once its successor is ready, one after the other."""

    def wait_until_back(self, previous: Process) -> None:
        """Wait until a killed process is replaced and ready. Raises TimeoutExpiredError."""

    def all_running(self) -> bool:
        """Return True if every process of the platform is ready."""


@runtime_checkable
class LocalFaultTarget(FaultTarget, Protocol):
    """Faults that need access to the machine of the processes."""

    def hold_down(self, name: str, seconds: float) -> None:
        """Keep the supervisor from restarting a process for `seconds`."""

    def release(self, name: str) -> None:
        """Let the supervisor restart a process that is held down."""

    def stop(self, process: Process, seconds: float) -> None:
        """Stop a process with SIGSTOP for at most `seconds`."""

    def resume(self, process: Process) -> None:
        """Continue a stopped process with SIGCONT."""

    def flush_redis(self) -> int:
        """Delete every key in Redis. Returns the number of keys."""
