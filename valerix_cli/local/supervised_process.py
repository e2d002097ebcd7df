"""One supervised process: started, watched, restarted with increasing delays, stopped."""

import asyncio
import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from valerix_cli.errors import UnreachableError
from valerix_cli.local.identity import start_time
from valerix_cli.local.launch import Launch
from valerix_cli.local.listeners import holder
from valerix_cli.local.logs import last_lines, open_log, rotate
from valerix_cli.local.ports import is_free
from valerix_cli.local.stack import ServiceState
from valerix_cli.local.supervisor_log import SupervisorLog

POLL_INTERVAL = 0.02  # seconds between checks of a process that is starting or stopping
WATCH_INTERVAL = 0.1  # seconds between checks of a running process
FORCED_STOP_TIMEOUT = 0.5  # seconds to end after a forced stop
FAILED_STARTS = 2  # in a row, before its data is moved aside, if it may be
STABLE_SECONDS = 30.0  # seconds after which earlier crashes are forgotten
RESTART_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before a restart, by crashes in a row


def restart_delay(crashes: int) -> float:
    """Return the seconds to wait after that many crashes in a row."""
    return RESTART_DELAYS[min(crashes, len(RESTART_DELAYS)) - 1]


@dataclass(frozen=True)
class ProcessSpec:
    """A process to supervise.

    `answers` reports whether the process with that pid responds; it blocks for at most a few seconds and is called from
    a thread. `patience` is the time limit after `stop_signal`, in seconds; `hurry_signal` follows at its end.
    `discard_data` moves data aside that prevents a start, and returns a message about it; None if it moved none.
    """

    name: str
    address: str
    port: int
    launch: Callable[[], Launch]
    answers: Callable[[int], bool]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGKILL
    patience: float = 20.0
    discard_data: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class SupervisorContext:
    """Shared by all processes of a supervisor: their event log, and the descriptors that they inherit.

    `held_for` returns the seconds for which a process, by its name, must not be restarted.
    """

    events: SupervisorLog
    changed: Callable[[], None]
    inherited: tuple[int, ...]
    held_for: Callable[[str], float] = lambda _: 0.0


class SupervisedProcess:
    """The state of a supervised process; for the main thread only: a child is killed when its thread ends."""

    def __init__(self, spec: ProcessSpec, context: SupervisorContext) -> None:
        self.spec = spec
        self.state: ServiceState = "stopped"
        self.since = datetime.now(UTC)
        self.restarts = 0
        self.last_exit: int | None = None
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None
        self._start_time: int | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def start_time(self) -> int | None:
        """The start time of its process, to distinguish it from a later one with the same pid; None if not running."""
        return self._start_time if self.pid else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of its latest process; None while that runs."""
        return self._process.poll() if self._process else None

    async def start(self, within: float) -> None:
        """Start it and return once it responds. Raises UnreachableError, with its last output, if it does not."""
        began = _size(self.spec.log)
        process = self._spawn()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._until_it_answers(process)
        if self.state != "running":
            how = _how_it_ended(process.poll()) or f"was not ready within {within:g} s"
            raise _failed(f"{self.spec.name} did not start.", how, self.spec.log, began)
        self._context.events.info(f"{self.spec.name} is ready on {self.spec.address}")
        self._keeper = asyncio.create_task(self._keep_alive(process))
        self._keeper.add_done_callback(self._say_if_unwatched)

    async def stop(self, force_stop: asyncio.Event) -> None:
        """Stop it gracefully, or by SIGKILL after its time limit or a forced stop."""
        if self._keeper:
            self._keeper.cancel()
        process = self._process
        if process and process.poll() is None:
            process.send_signal(self.spec.stop_signal)
            if not (
                await self._ends(process, self.spec.patience, force_stop)
                or await self._ends(process, FORCED_STOP_TIMEOUT)
            ):
                self._context.events.warning(f"{self.spec.name} did not end in time and was killed")
                process.send_signal(self.spec.hurry_signal)
                if not await self._ends(process, 2.0):
                    process.kill()
                    process.wait()
            self._context.events.info(f"{self.spec.name} has ended")
        if process:
            self.last_exit = process.returncode
        self._turn("stopped")

    async def _keep_alive(self, process: subprocess.Popen[bytes]) -> None:
        crashes = failed_starts = 0
        while True:
            self.last_exit = await _end_of(process, WATCH_INTERVAL)
            failed_starts = 0 if self.state == "running" else failed_starts + 1
            if failed_starts == FAILED_STARTS and (message := await asyncio.to_thread(self.spec.discard_data)):
                self._context.events.warning(message)
            crashes = 0 if self._ran_for() > STABLE_SECONDS else crashes
            process, crashes = await self._start_again(self._how_it_ended(), crashes)
            self.restarts += 1
            await self._until_it_answers(process)
            if self.state == "running":
                self._context.events.info(f"{self.spec.name} is ready again on {self.spec.address}")

    def _say_if_unwatched(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (bug := keeper.exception()):
            self._context.events.warning(
                f"{self.spec.name} is no longer supervised because of an internal error: {bug!r}"
            )

    async def _start_again(self, how: str, crashes: int) -> tuple[subprocess.Popen[bytes], int]:
        """Return the new process, and the number of crashes in a row."""
        while True:
            crashes += 1
            pause = restart_delay(crashes)
            self._turn("backing-off")
            self._context.events.warning(f"{self.spec.name} {how}; restarting in {pause:g} s")
            await asyncio.sleep(pause)
            while (left := self._context.held_for(self.spec.name)) > 0:  # noqa: ASYNC110 - a file has no event to wait for
                await asyncio.sleep(min(left, WATCH_INTERVAL))
            try:
                return self._spawn(), crashes
            except OSError as error:  # no space for its log, or no process available
                how = f"cannot be started ({error})"

    def _how_it_ended(self) -> str:
        """Return its exit code or signal, and the process that now uses its port, a likely cause."""
        how = _how_it_ended(self.last_exit)
        if is_free(self.spec.port):
            return how
        return f"{how}, and {holder(self.spec.port) or 'another process'} has its port {self.spec.port}"

    def _ran_for(self) -> float:
        return (datetime.now(UTC) - self.since).total_seconds() if self.state == "running" else 0.0

    def _spawn(self) -> subprocess.Popen[bytes]:
        rotate(self.spec.log)
        with open_log(self.spec.log, "ab") as log:
            self._process = self.spec.launch().start(log, keep=self._context.inherited)
        self._start_time = start_time(self._process.pid)
        self._turn("starting")
        return self._process

    async def _until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it responds, and set its state to `running`; returns also if it has ended."""
        while process.poll() is None:
            if await asyncio.to_thread(self.spec.answers, process.pid):
                self._turn("running")
                return
            await asyncio.sleep(POLL_INTERVAL)

    @staticmethod
    async def _ends(process: subprocess.Popen[bytes], within: float, force_stop: asyncio.Event | None = None) -> bool:
        deadline = time.monotonic() + within
        while process.poll() is None:
            if time.monotonic() > deadline or (force_stop and force_stop.is_set()):
                return False
            await asyncio.sleep(POLL_INTERVAL)
        return True

    def _turn(self, state: ServiceState) -> None:
        self.state = state
        self.since = datetime.now(UTC)
        self._context.changed()


async def run_to_its_end(name: str, launch: Launch, log: Path, context: SupervisorContext) -> None:
    """Run a command to its end. Raises UnreachableError with its output if it fails."""
    began = _size(log)
    with open_log(log, "ab") as output:
        process = launch.start(output, keep=context.inherited)
    try:
        await _end_of(process, POLL_INTERVAL)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise _failed(f"{name} failed.", _how_it_ended(process.returncode), log, began)


async def _end_of(process: subprocess.Popen[bytes], every: float) -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - there is no portable way to wait for a child in asyncio
        await asyncio.sleep(every)
    return code


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _failed(what: str, how: str, log: Path, began: int) -> UnreachableError:
    message = " ".join(map(_in_short, last_lines(log, 3, since=began)))
    return UnreachableError(what, f"it {how}" + (f": {message}" if message else ""), f"read {log}")


def _in_short(line: str) -> str:
    """Return the message of a log line: for JSON its event and reason."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return line
    return ": ".join(str(fields[name]) for name in ("event", "why", "exception") if fields.get(name))


def _how_it_ended(code: int | None) -> str:
    """Return `ended with exit code 2` or `was killed by SIGKILL`; empty while it runs."""
    if code is None:
        return ""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
