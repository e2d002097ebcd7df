"""The platform of a demo, with a small continuous load, and the rollback of every fault."""

import itertools
import secrets
import tempfile
import time
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Activation
from valerix_cli.demo.live_metrics import LiveMetrics, metrics
from valerix_cli.demo.tampering import LedgerTampering, local_tampering, undo_command
from valerix_cli.drills.gremlins import turn_off
from valerix_cli.drills.lease import PlatformLease
from valerix_cli.drills.monitor import Monitor
from valerix_cli.drills.preflight import require_all_running, require_automatic_breakers, require_no_gremlins
from valerix_cli.drills.targets.local import RESTART_TIMEOUT, LocalProcesses
from valerix_cli.errors import CliError, GuardError
from valerix_cli.journal import JournalWriter
from valerix_cli.load import LoadGenerator, LoadResult, Plan
from valerix_cli.load.model import CompletedOrder
from valerix_cli.load.thread import run_in_thread
from valerix_cli.quoting import command, word
from valerix_cli.session import Session
from valerix_cli.waiting import wait_for

RATE = 20.0  # orders per second: enough for a p95 and a breaker, light enough for any machine
SEED = 42
_FAVOURITE = "monitor"
_STOCK = 100_000  # enough for more than an hour
_LONGEST = 86_400.0  # seconds: longer than any talk
_TIMEOUT = 10.0  # seconds per request
_RETRIES = 10
_FRESH = 0.25  # seconds until metrics are collected again
_INTERVAL = 0.1
_UNDOING = 10.0  # seconds for which undoing the tampering is retried


class DemoEnvironment:
    """Shared by the steps of one demo. `sources` is None if this platform cannot be audited."""

    def __init__(self, session: Session, sources: Sources | None, directory: Path) -> None:
        self.session, self.sources = session, sources
        self.item, self.other_item = _FAVOURITE, _FAVOURITE
        self.keys: dict[str, str] = {}
        """Key of the order that each step sent, for later steps."""
        self.processes = LocalProcesses(directory) if session.context.is_local else None
        self.local_tampering = _forgery(session)
        self._orders: list[CompletedOrder] = []
        self._load: LoadGenerator | None = None
        self._metrics = (float("-inf"), LiveMetrics())
        self._numbers = itertools.count(1)
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        """Start the load. Raises CliError if another fault is active."""
        with ExitStack() as begun:
            if self.local_tampering:
                self.local_tampering.undo()  # left by a demo that was killed
            run = f"demo-{secrets.token_hex(3)}"
            begun.enter_context(PlatformLease(self.session, run, "demo"))
            self._choose_items()
            self._prepare(run)
            self._prefix = f"{run}-"
            directory = begun.enter_context(tempfile.TemporaryDirectory(prefix="valerix-demo-"))
            self.journal = Path(directory) / "journal.jsonl"
            writer = begun.enter_context(
                JournalWriter(self.journal, "demo", self._prefix, self.session.orders.platform())
            )
            self.orders: OrderClient = self.session.orders.recorded(writer)
            self.writer = writer
            self._load = load = self._make_load(writer)
            self._result = run_in_thread(load)
            begun.callback(_await_load, load, self._result)
            self.watcher = begun.enter_context(Monitor(self.session, self.clock))
            self._ends = begun.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends.close()

    def clock(self) -> float:
        """Return the seconds since the load began; negative before."""
        began = self._load.began if self._load else None
        return -1.0 if began is None else time.perf_counter() - began

    @property
    def metrics(self) -> LiveMetrics:
        """The latest collected state of the platform."""
        at, latest = self._metrics
        if (now := self.clock()) - at > _FRESH:
            latest = metrics(self._orders, self.watcher.last, now)
            self._metrics = (now, latest)
        return latest

    @property
    def command_prefix(self) -> str:
        """The command that selects this platform in another terminal."""
        if self.processes:
            return f"export VALERIX_STATE_DIR={word(self.processes.directory)}"
        return command("valerix context use", self.session.context.name)

    def new_order(self, who: str) -> OrderRequest:
        """Return a new order of this customer with a new key."""
        key = f"{self._prefix}{who}-{next(self._numbers)}"
        self.keys[who] = key
        return OrderRequest(self.item, 1, key)

    def activate(self, ttl: int, **gremlins: Any) -> Activation:
        wish = {"latency": False, "seed": SEED, "ttl_seconds": ttl, "reason": "valerix demo"}
        return self.session.inventory.activate(wish | gremlins)

    def audit(self) -> Audit:
        """Audit both databases and the journal of this demo's customers."""
        assert self.sources is not None  # noqa: S101 - a step that needs it is skipped without # nosec B101
        return audit(self.sources, self.journal)

    def load_time(self, at: datetime) -> float:
        """Convert a time of day to seconds since the load began."""
        return self.clock() - (datetime.now(UTC) - at).total_seconds()

    def roll_back(self) -> list[str]:
        """Turn gremlins off, undo the tampering, wait for every process. Returns what could not be confirmed."""
        left = []
        if why := turn_off(self.session.inventory):
            left.append(f"gremlins may be live: {why}; they end by themselves when their time is up")
        if self.local_tampering and (why := _wait_for_undo(self.local_tampering)):
            left.append(f"the books are still forged: {why}; {undo_command()}")
        if self.processes and (why := _all_run(self.processes)):
            left.append(why)
        return left

    def _choose_items(self) -> None:
        items = [one.item_id for one in self.session.inventory.items()]
        self.item = next((item for item in [_FAVOURITE, *items] if item in items), _FAVOURITE)
        self.other_item = next((item for item in items if item != self.item), self.item)

    def _prepare(self, run: str) -> None:
        """Check that no other fault is active, and that there is stock.

        A previous demo may still be recovering: the first step waits until it has.
        """
        inventory = self.session.inventory
        require_no_gremlins(inventory)
        require_automatic_breakers(self.session.orders)
        if self.processes:
            require_all_running(self.processes)
        if (found := inventory.item(self.item).quantity) < _STOCK:
            inventory.restock(self.item, _STOCK - found, f"{run}-{self.item}")

    def _make_load(self, writer: JournalWriter) -> LoadGenerator:
        context = self.session.context
        plan = Plan(
            rate=RATE,
            clients=None,
            seconds=_LONGEST,
            seed=SEED,
            key_prefix=self._prefix,
            items=[self.item],
            mix="hot",
            retries=_RETRIES,
            timeout=_TIMEOUT,
        )
        headers = {"Authorization": f"Bearer {context.operator_token}"} if context.operator_token else {}
        return LoadGenerator(plan, context.services["order"], headers, journal=writer, on_completed=self._orders.append)


def _forgery(session: Session) -> LedgerTampering | None:
    if not session.context.is_local:
        return None
    try:
        return local_tampering()
    except GuardError:
        return None


def _await_load(load: LoadGenerator, result: "Future[LoadResult]") -> None:
    load.stop()
    wait([result], _TIMEOUT + 1)


def _wait_for_undo(forged: LedgerTampering) -> str:
    """Return the reason if the tampering could not be undone, else ""."""
    deadline, why = time.monotonic() + _UNDOING, "there was no time"
    while time.monotonic() < deadline:
        try:
            forged.undo()
        except CliError as error:
            why = error.why
            time.sleep(_INTERVAL)
        else:
            return ""
    return why


def _all_run(processes: LocalProcesses) -> str:
    """Wait until every process runs. Returns the problem if that takes too long, else ""."""

    def all_run() -> bool:
        with suppress(CliError):
            return processes.all_running()
        return False

    return "" if wait_for(all_run, RESTART_TIMEOUT) else "not every process runs again"
