"""One process that is kept alive: started, watched, started again with growing pauses, stopped."""

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

POLL_INTERVAL = 0.02  # seconds between looks at a process that is starting or should end
WATCH_INTERVAL = 0.1  # seconds between looks at one that runs
FORCED_STOP_TIMEOUT = 0.5  # seconds to end by itself for what was hurried
FAILED_STARTS = 2  # in a row, before what it has stored is put away, where that may be
STABLE_SECONDS = 30.0  # seconds after which an earlier crash is forgotten
RESTART_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before starting again, by crashes in a row


def restart_delay(crashes: int) -> float:
    """Seconds to wait after that many crashes in a row."""
    return RESTART_DELAYS[min(crashes, len(RESTART_DELAYS)) - 1]


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep alive.

    `answers` says whether the process with that pid does; it blocks for at most a few seconds and is asked from a
    thread. `patience` is how long it may take to end after `stop_signal`, in seconds; `hurry_signal` is for when there
    is none left. `discard_data` moves away what keeps it from starting, and returns what to say of that; None where
    nothing can be put away.
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
    """Shared by all processes of a supervisor: where events go, and the descriptors they inherit.

    `held_for` says for how many seconds more a process is to stay down, by its name.
    """

    events: SupervisorLog
    changed: Callable[[], None]
    inherited: tuple[int, ...]
    held_for: Callable[[str], float] = lambda _: 0.0


class SupervisedProcess:
    """A spec and how it fares; for the main thread only, because a child dies with the thread that started it."""

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
        """Start it and return once it answers. Raises UnreachableError, with what it said last, when it never does."""
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
        """End it gracefully, or by SIGKILL after its time limit or a forced stop."""
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
        """The new process, and after how many crashes in a row it comes."""
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
            except OSError as error:  # no room for its log, no processes left
                how = f"cannot be started ({error})"

    def _how_it_ended(self) -> str:
        """Its exit code or signal, and who has its port by now, since that would be why."""
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
        """Return when it answers, which makes it `running`, or when it has ended."""
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
    """Run something that ends by itself. Raises UnreachableError with what it said when it does not end well."""
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
    """For people: `ended with exit code 2`, `was killed by SIGKILL`; nothing while it runs."""
    if code is None:
        return ""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
