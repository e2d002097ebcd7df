"""Brings the platform up, keeps it up, and takes it down in the right order."""

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
from valerix_cli.local import holds, home, plan, schema
from valerix_cli.local.accounts import accounts, closed_to_others, compile_services
from valerix_cli.local.backends import Backends
from valerix_cli.local.child import Charge, Child, Household, run_to_its_end
from valerix_cli.local.identity import start_time
from valerix_cli.local.journal import SUPERVISOR, Journal, Listener, into
from valerix_cli.local.listeners import holder
from valerix_cli.local.lock import is_at
from valerix_cli.local.lock import supervise as own_lock
from valerix_cli.local.logs import log_file, rotate
from valerix_cli.local.monitoring import ROLES, Monitoring
from valerix_cli.local.ports import free_port
from valerix_cli.local.probe import is_ready
from valerix_cli.local.state import STACK_FILE, Service, Stack, keep_secrets, stack_text, write_stack
from valerix_cli.local.tasks import together
from valerix_cli.local.wishes import Wishes
from valerix_cli.signals import is_ignored
from valerix_cli.trust import read_own

START_LIMIT = 60.0  # seconds a service may take to get ready
PORT_ATTEMPTS = 5
CANNOT_LISTEN = 3  # the exit code of a service whose port somebody has
ROTATE_EVERY = 5.0  # seconds
LOOK_EVERY = 0.5  # seconds between looks at whether the directory is still there


def supervise(
    directory: Path, wishes: Wishes, *, lock: int, listener: Listener | None, watch: Callable[[Stack], None]
) -> signal.Signals | None:
    """Be the supervisor of `directory`, whose `lock` is ours, until a signal asks to stop.

    `listener` hears each notice besides the log, `watch` gets the stack whenever it changes. Returns the signal if it
    came before everything was ready, else None. Raises CliError when the platform does not start.
    """
    own_lock(lock)
    log = into(log_file(directory / home.LOGS, SUPERVISOR))
    journal = Journal(log, *([listener] if listener else []))
    try:
        with home.told_plainly(directory):
            return asyncio.run(
                Supervisor(directory, wishes, lock=lock, environ=os.environ, journal=journal, watch=watch).run()
            )
    except CliError as error:
        Journal(log).error(error.what, why=error.why, hint=error.hint)  # whoever listens gets to see what is raised
        raise


class Supervisor:
    """One run of the platform that lives in `directory`; `lock` is the descriptor that holds the directory's lock."""

    def __init__(
        self,
        directory: Path,
        wishes: Wishes,
        *,
        lock: int,
        environ: Mapping[str, str],
        journal: Journal,
        watch: Callable[[Stack], None],
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._logs = directory / home.LOGS
        self._wishes = wishes
        self._environ = environ
        self._journal = journal
        self._watch = watch
        self._state: Literal["starting", "running", "stopping"] = "starting"
        self._started_at = datetime.now(UTC)
        self._fleet: list[tuple[plan.Replica, Child]] = []
        self._household = Household(
            journal, self._changed, inherited=(lock,), held_for=partial(holds.held_for, directory)
        )
        users = accounts(directory, ("redis", *(kind.name for kind in plan.KINDS), *ROLES))
        self._closed = closed_to_others() if users else None
        self._accounts = users if self._closed is None else {}
        """Of the services; none where they could not read their own code then."""
        self._backends = Backends(directory, keep_secrets(directory), self._household, users.get("redis"))
        self._monitoring = Monitoring(directory, self._household, users)
        self._asked_by: signal.Signals | None = None
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lost = False
        self._complaint = ""
        self._stack: Stack | None = None

    async def run(self) -> signal.Signals | None:
        """Run until a signal asks to stop. Returns that signal if it came before everything was ready, else None.

        Raises CliError when the platform does not start, and when its directory is taken away; nothing is left running
        then.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if not is_ignored(number):
                asyncio.get_running_loop().add_signal_handler(number, self._ask_to_stop, number)
        chores = [asyncio.create_task(chore) for chore in (self._keep_logs_small(), self._keep_directory())]
        try:
            was_ready = await self._unless_asked(self._start())
            await self._asked.wait()
        finally:
            for chore in chores:
                chore.cancel()
            await self._stop()
        if self._lost:
            raise self._directory_lost()
        return None if was_ready else self._asked_by

    async def _unless_asked(self, deed: Coroutine[Any, Any, None]) -> bool:
        """Do it, unless somebody asks to stop before it is done. Returns whether it was done."""
        doing = asyncio.create_task(deed)
        asked = asyncio.create_task(self._asked.wait())
        await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
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
            self._journal.warning(f"the services run as root, not as users of their own: {why}")
        if self._accounts:
            await asyncio.to_thread(compile_services)
        backing = await self._backends.start(self._wishes.postgres, self._environ)
        migrations = [self._migrate(kind, module, backing) for kind, module in plan.MIGRATIONS]
        if await asyncio.to_thread(schema.is_current, backing.database_urls):  # they only look, and add new items
            await together(*migrations, self._start_services(backing))
        else:
            await together(*migrations)
            await self._start_services(backing)
        if self._wishes.monitoring:
            fleet = tuple(replica for replica, _ in self._fleet)
            await self._monitoring.start(fleet, self._wishes.alert_webhook, free_ports=self._wishes.free_ports)
        self._state = "running"
        self._changed()

    async def _migrate(self, kind: plan.Kind, module: tuple[str, ...], backing: plan.Backing) -> None:
        launch = plan.migration(kind, module, backing, self._environ, self._directory, self._accounts.get(kind.name))
        name = f"{kind.name}-migrate"
        await run_to_its_end(name, launch, log_file(self._logs, name), self._household)

    async def _start_services(self, backing: plan.Backing) -> None:
        """Start them all at once; where somebody was quicker to take a port of ours, all again on other ports."""
        disputed: set[int] = set()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            replicas = self._choose_ports(disputed)
            told = plan.dashboard_contexts(replicas).encode()
            write_atomically(self._directory / home.DASHBOARD_CONTEXTS, told, mode=0o644)
            self._fleet = [(replica, self._service(replica, replicas, backing)) for replica in replicas]
            try:
                await together(*(child.start(START_LIMIT) for _, child in self._fleet))
            except CliError:
                robbed = [replica for replica, child in self._fleet if child.exit_code == CANNOT_LISTEN]
                if not robbed or attempt == PORT_ATTEMPTS:
                    raise
                disputed.update(replica.port for replica in robbed)
                names = ", ".join(replica.name for replica in robbed)
                self._journal.warning(f"somebody took the port of {names} meanwhile; trying other ports")
                await self._stop_services()
            else:
                return

    def _choose_ports(self, disputed: AbstractSet[int]) -> tuple[plan.Replica, ...]:
        """Each replica with a port that is free now and that nobody has just been quicker to take."""
        chosen: list[plan.Replica] = []
        for kind in plan.KINDS:
            for number in range(1, self._wishes.replicas.get(kind.name, 1) + 1):
                wanted = kind.port if number == 1 and not self._wishes.free_ports else None
                port = free_port(wanted=wanted, but=frozenset(disputed | {replica.port for replica in chosen}))
                chosen.append(plan.Replica(kind, number, port))
                if wanted and port != wanted:
                    who = holder(wanted) or "another process"
                    self._journal.warning(f"port {wanted} is taken by {who}; {chosen[-1].name} listens on {port}")
        return tuple(chosen)

    def _service(self, replica: plan.Replica, replicas: tuple[plan.Replica, ...], backing: plan.Backing) -> Child:
        account = self._accounts.get(replica.kind.name)
        launch = plan.service(replica, replicas, backing, self._environ, self._directory, account)
        answers = partial(is_ready, replica.url)
        log = log_file(self._logs, replica.name)
        return Child(Charge(replica.name, replica.url, replica.port, lambda: launch, answers, log), self._household)

    async def _stop(self) -> None:
        self._state = "stopping"
        self._changed()
        await self._monitoring.stop(self._hurry)
        await self._stop_services()
        await self._backends.stop(self._hurry)
        if is_at(self._lock, self._directory):
            (self._directory / STACK_FILE).unlink(missing_ok=True)

    async def _stop_services(self) -> None:
        """Callers before those they call, so that nobody talks to somebody who has gone."""
        for kind in reversed(plan.KINDS):
            members = [child for replica, child in self._fleet if replica.kind == kind]
            await together(*(child.stop(self._hurry) for child in members))

    def _ask_to_stop(self, number: signal.Signals) -> None:
        if self._asked.is_set():
            self._journal.info("hurrying: what has not ended is killed")
            self._hurry.set()
        else:
            self._asked_by = number
            self._journal.info(f"stopping, since {number.name} was received")
        self._asked.set()

    async def _keep_logs_small(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY)
            for log in self._logs.glob("*.log"):
                with suppress(OSError):
                    rotate(log)

    async def _keep_directory(self) -> None:
        """Write stack.json anew where it is lost or damaged; stop where the whole directory is taken away."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not is_at(self._lock, self._directory):
                self._journal.warning(f"stopping: {self._directory} was deleted, moved or replaced")
                self._lost = True
                self._hurry.set()  # nothing can be saved any more
                self._asked.set()
                return
            if self._stack and not self._is_written(self._stack):
                if not self._complaint:
                    self._journal.warning(f"{STACK_FILE} was lost or changed, and is written again")
                self._write(self._stack)

    def _is_written(self, stack: Stack) -> bool:
        try:
            return read_own(self._directory / STACK_FILE) == stack_text(stack)
        except (OSError, CliError):
            return False

    def _write(self, stack: Stack) -> None:
        if not is_at(self._lock, self._directory):  # what lies there now is not ours
            return
        try:
            write_stack(self._directory, stack)
        except OSError as error:
            if str(error) != self._complaint:
                self._journal.warning(f"{STACK_FILE} could not be written: {error}")
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
                for kind in plan.KINDS
            },
            databases=self._backends.databases(),
            monitoring=self._monitoring.places(),
            supervisor_start=start_time(os.getpid()),
        )
        self._write(stack)
        self._watch(stack)


def _as_service(replica: plan.Replica, child: Child) -> Service:
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
