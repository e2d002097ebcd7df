"""The supervisor: starts the platform, keeps it running, and stops it in the right order."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from valerix_cli import __version__
from valerix_cli.errors import CliError
from valerix_cli.files import write_atomically
from valerix_cli.local import restart_holds, schema, state_directory, topology
from valerix_cli.local.accounts import accounts, closed_to_others, compile_services
from valerix_cli.local.datastores import DataStores
from valerix_cli.local.identity import start_time
from valerix_cli.local.listeners import holder
from valerix_cli.local.lock import is_at
from valerix_cli.local.lock import supervise as own_lock
from valerix_cli.local.logs import log_file, rotate
from valerix_cli.local.monitoring import ROLES, Monitoring
from valerix_cli.local.ports import free_port
from valerix_cli.local.probe import is_ready
from valerix_cli.local.stack import STACK_FILE, Service, Stack, ensure_secrets, stack_text, write_stack
from valerix_cli.local.supervised_process import ProcessSpec, SupervisedProcess, SupervisorContext, run_to_its_end
from valerix_cli.local.supervisor_log import SUPERVISOR, Listener, SupervisorLog, into
from valerix_cli.local.tasks import gather_or_cancel
from valerix_cli.local.up_options import UpOptions
from valerix_cli.signals import is_ignored
from valerix_cli.trust import read_own

START_LIMIT = 60.0  # seconds until a service has to be ready
PORT_ATTEMPTS = 5
CANNOT_LISTEN = 3  # exit code of a service if its port is in use
ROTATE_INTERVAL = 5.0  # seconds
CHECK_INTERVAL = 0.5  # seconds between checks of the directory


def supervise(
    directory: Path, options: UpOptions, *, lock: int, listener: Listener | None, watch: Callable[[Stack], None]
) -> signal.Signals | None:
    """Supervise `directory`, whose `lock` is held, until a signal requests a stop.

    `listener` is called with each notice, `watch` with the stack whenever it changes. Returns the signal if it
    came before everything was ready, else None. Raises CliError if the platform does not start.
    """
    own_lock(lock)
    log = into(log_file(directory / state_directory.LOGS, SUPERVISOR))
    events = SupervisorLog(log, *([listener] if listener else []))
    try:
        with state_directory.cli_errors(directory):
            return asyncio.run(
                Supervisor(directory, options, lock=lock, environ=os.environ, events=events, watch=watch).run()
            )
    except CliError as error:
        SupervisorLog(log).error(error.what, why=error.why, hint=error.hint)  # the caller handles the exception
        raise


class Supervisor:
    """One run of the platform in `directory`; `lock` is the descriptor that holds the directory's lock."""

    def __init__(
        self,
        directory: Path,
        options: UpOptions,
        *,
        lock: int,
        environ: Mapping[str, str],
        events: SupervisorLog,
        watch: Callable[[Stack], None],
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._logs = directory / state_directory.LOGS
        self._options = options
        self._environ = environ
        self._events = events
        self._watch = watch
        self._state: Literal["starting", "running", "stopping"] = "starting"
        self._started_at = datetime.now(UTC)
        self._fleet: list[tuple[topology.Replica, SupervisedProcess]] = []
        self._context = SupervisorContext(
            events, self._changed, inherited=(lock,), held_for=partial(restart_holds.held_for, directory)
        )
        users = accounts(directory, ("redis", *(kind.name for kind in topology.KINDS), *ROLES))
        self._closed = closed_to_others() if users else None
        self._accounts = users if self._closed is None else {}
        """The services' accounts; empty if they could not read their own code."""
        self._data_stores = DataStores(directory, ensure_secrets(directory), self._context, users.get("redis"))
        self._monitoring = Monitoring(directory, self._context, users)
        self._asked_by: signal.Signals | None = None
        self._stop_requested = asyncio.Event()
        self._force_stop = asyncio.Event()
        self._lost = False
        self._complaint = ""
        self._stack: Stack | None = None

    async def run(self) -> signal.Signals | None:
        """Run until a signal requests a stop. Returns that signal if it came before everything was ready, else None.

        Raises CliError if the platform does not start, or if its directory is deleted; no process is left running then.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if not is_ignored(number):
                asyncio.get_running_loop().add_signal_handler(number, self._ask_to_stop, number)
        chores = [asyncio.create_task(chore) for chore in (self._keep_logs_small(), self._keep_directory())]
        try:
            was_ready = await self._unless_asked(self._start())
            await self._stop_requested.wait()
        finally:
            for chore in chores:
                chore.cancel()
            await self._stop()
        if self._lost:
            raise self._directory_lost()
        return None if was_ready else self._asked_by

    async def _unless_asked(self, action: Coroutine[Any, Any, None]) -> bool:
        """Run `action`, unless a stop is requested first. Returns whether it finished."""
        doing = asyncio.create_task(action)
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({doing, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
        stop_requested.cancel()
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        with suppress(asyncio.CancelledError):
            await doing
        return False

    async def _start(self) -> None:
        self._changed()
        if self._closed:
            why = f"other users may not read {self._closed}, which they need"
            self._events.warning(f"the services run as root, not as separate users: {why}")
        if self._accounts:
            await asyncio.to_thread(compile_services)
        dependencies = await self._data_stores.start(self._options.postgres, self._environ)
        migrations = [self._migrate(kind, module, dependencies) for kind, module in topology.MIGRATIONS]
        if await asyncio.to_thread(schema.is_current, dependencies.database_urls):  # then migrations change no schema
            await gather_or_cancel(*migrations, self._start_services(dependencies))
        else:
            await gather_or_cancel(*migrations)
            await self._start_services(dependencies)
        if self._options.monitoring:
            fleet = tuple(replica for replica, _ in self._fleet)
            await self._monitoring.start(fleet, self._options.alert_webhook, free_ports=self._options.free_ports)
        self._state = "running"
        self._changed()

    async def _migrate(
        self, kind: topology.ServiceKind, module: tuple[str, ...], dependencies: topology.Dependencies
    ) -> None:
        launch = topology.migration(
            kind, module, dependencies, self._environ, self._directory, self._accounts.get(kind.name)
        )
        name = f"{kind.name}-migrate"
        await run_to_its_end(name, launch, log_file(self._logs, name), self._context)

    async def _start_services(self, dependencies: topology.Dependencies) -> None:
        """Start all services together. If another process has taken a port, start all again on other ports."""
        taken: set[int] = set()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            replicas = self._choose_ports(taken)
            contexts = topology.dashboard_contexts(replicas).encode()
            write_atomically(self._directory / state_directory.DASHBOARD_CONTEXTS, contexts, mode=0o644)
            self._fleet = [(replica, self._service(replica, replicas, dependencies)) for replica in replicas]
            try:
                await gather_or_cancel(*(child.start(START_LIMIT) for _, child in self._fleet))
            except CliError:
                port_conflicts = [replica for replica, child in self._fleet if child.exit_code == CANNOT_LISTEN]
                if not port_conflicts or attempt == PORT_ATTEMPTS:
                    raise
                taken.update(replica.port for replica in port_conflicts)
                names = ", ".join(replica.name for replica in port_conflicts)
                self._events.warning(f"another process took the port of {names}; trying other ports")
                await self._stop_services()
            else:
                return

    def _choose_ports(self, taken: AbstractSet[int]) -> tuple[topology.Replica, ...]:
        """Return each replica with a port that is free and not in `taken`."""
        chosen: list[topology.Replica] = []
        for kind in topology.KINDS:
            for number in range(1, self._options.replicas.get(kind.name, 1) + 1):
                preferred = kind.port if number == 1 and not self._options.free_ports else None
                port = free_port(preferred=preferred, but=frozenset(taken | {replica.port for replica in chosen}))
                chosen.append(topology.Replica(kind, number, port))
                if preferred and port != preferred:
                    who = holder(preferred) or "another process"
                    self._events.warning(f"port {preferred} is taken by {who}; {chosen[-1].name} listens on {port}")
        return tuple(chosen)

    def _service(
        self, replica: topology.Replica, replicas: tuple[topology.Replica, ...], dependencies: topology.Dependencies
    ) -> SupervisedProcess:
        account = self._accounts.get(replica.kind.name)
        launch = topology.service(replica, replicas, dependencies, self._environ, self._directory, account)
        answers = partial(is_ready, replica.url)
        log = log_file(self._logs, replica.name)
        return SupervisedProcess(
            ProcessSpec(replica.name, replica.url, replica.port, lambda: launch, answers, log), self._context
        )

    async def _stop(self) -> None:
        self._state = "stopping"
        self._changed()
        await self._monitoring.stop(self._force_stop)
        await self._stop_services()
        await self._data_stores.stop(self._force_stop)
        if is_at(self._lock, self._directory):
            (self._directory / STACK_FILE).unlink(missing_ok=True)

    async def _stop_services(self) -> None:
        """Stop callers before the services that they call."""
        for kind in reversed(topology.KINDS):
            members = [child for replica, child in self._fleet if replica.kind == kind]
            await gather_or_cancel(*(child.stop(self._force_stop) for child in members))

    def _ask_to_stop(self, number: signal.Signals) -> None:
        if self._stop_requested.is_set():
            self._events.info("stopping now: remaining processes are killed")
            self._force_stop.set()
        else:
            self._asked_by = number
            self._events.info(f"stopping, since {number.name} was received")
        self._stop_requested.set()

    async def _keep_logs_small(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_INTERVAL)
            for log in self._logs.glob("*.log"):
                with suppress(OSError):
                    rotate(log)

    async def _keep_directory(self) -> None:
        """Rewrite stack.json if it is lost or damaged; stop if the whole directory was deleted."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            if not is_at(self._lock, self._directory):
                self._events.warning(f"stopping: {self._directory} was deleted, moved or replaced")
                self._lost = True
                self._force_stop.set()  # no file can be written any more
                self._stop_requested.set()
                return
            if self._stack and not self._is_written(self._stack):
                if not self._complaint:
                    self._events.warning(f"{STACK_FILE} was lost or changed, and was rewritten")
                self._write(self._stack)

    def _is_written(self, stack: Stack) -> bool:
        try:
            return read_own(self._directory / STACK_FILE) == stack_text(stack)
        except (OSError, CliError):
            return False

    def _write(self, stack: Stack) -> None:
        if not is_at(self._lock, self._directory):  # the directory there now is not this platform's
            return
        try:
            write_stack(self._directory, stack)
        except OSError as error:
            if str(error) != self._complaint:
                self._events.warning(f"{STACK_FILE} could not be written: {error}")
            self._complaint = str(error)
        else:
            self._complaint = ""

    def _directory_lost(self) -> CliError:
        return CliError(
            "The platform was stopped.",
            f"its state directory {self._directory} was deleted, moved or replaced while it ran",
            "valerix up, which starts a new one; valerix down is the way to stop one",
        )

    def _changed(self) -> None:
        self._stack = stack = Stack(
            state=self._state,
            supervisor_pid=os.getpid(),
            started_at=self._started_at,
            log_dir=str(self._logs),
            valerix_version=__version__,
            services={
                kind.name: tuple(_as_service(replica, child) for replica, child in self._fleet if replica.kind == kind)
                for kind in topology.KINDS
            },
            databases=self._data_stores.databases(),
            monitoring=self._monitoring.places(),
            supervisor_start=start_time(os.getpid()),
        )
        self._write(stack)
        self._watch(stack)


def _as_service(replica: topology.Replica, child: SupervisedProcess) -> Service:
    return Service(
        name=replica.name,
        url=replica.url,
        port=replica.port,
        pid=child.pid,
        state=child.state,
        restarts=child.restarts,
        last_exit=child.last_exit,
        since=child.since,
        start_time=child.start_time,
    )
