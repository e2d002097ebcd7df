"""Runs a drill: preflight, phases under load, roll-back, evaluation, audit, receipt.

Faults are rolled back and a receipt is made on every way out, including Ctrl-C.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.drills import evaluate, verdict
from valerix_cli.drills.aborted import Aborted
from valerix_cli.drills.background_load import BackgroundLoad
from valerix_cli.drills.event_log import EventLog
from valerix_cli.drills.faults import FaultScheduler
from valerix_cli.drills.lease import PlatformLease
from valerix_cli.drills.monitor import Monitor
from valerix_cli.drills.phases import Phases
from valerix_cli.drills.preflight import preflight
from valerix_cli.drills.receipt import Check, Receipt
from valerix_cli.drills.receipt_builder import build_receipt
from valerix_cli.drills.run_request import RunRequest
from valerix_cli.drills.targets import fault_target
from valerix_cli.errors import CliError, ExitCode
from valerix_cli.journal import JournalWriter
from valerix_cli.session import Session
from valerix_cli.signals import ignore_signals


class Runner:
    """One run of a drill. `print_line` receives its progress line by line."""

    def __init__(
        self,
        session: Session,
        sources: Sources,
        request: RunRequest,
        versions: dict[str, str],
        lease: PlatformLease,
        print_line: Callable[[str], None],
    ) -> None:
        self._session, self._sources, self._request, self._versions = session, sources, request, versions
        self._lease, self._print_line = lease, print_line
        self._drill = request.file.drill
        self._audit: Audit | None = None
        self._interrupted: ExitCode | None = None
        self._aborted: str | None = None

    def run(self) -> Receipt:
        """Run the drill and return its receipt. Raises CliError only if the preflight or the first audit fails."""
        began, started_at = time.monotonic(), datetime.now(UTC)
        session, request, drill = self._session, self._request, self._drill
        prefix = preflight(session, drill, request.run, request.directory, request.key_prefix, self._print_line)
        audit(self._sources)  # fails early if the databases cannot be audited
        target = fault_target(session.context, request.directory) if drill.affects_processes else None
        self._load = load = BackgroundLoad(drill, session.context, prefix)
        self._log = log = EventLog(load.clock, self._print_line)
        with (
            JournalWriter(request.journal, f"drill {drill.name}", prefix, session.orders.platform()) as journal,
            Monitor(session, load.clock) as self._monitor,
        ):
            self._faults = FaultScheduler(
                drill, session.inventory, target, clock=load.clock, log=log.add, script=request.script
            )
            self._phases = Phases(
                drill, load, self._monitor, self._faults, self._lease, log, is_replay=request.script is not None
            )
            load.start(journal)
            self._run_phases()
            with ignore_signals():
                self._tear_down()
                self._monitor.sample()
        receipt = build_receipt(
            request,
            context=session.context.name,
            versions=self._versions,
            key_prefix=prefix,
            started_at=started_at,
            seconds=time.monotonic() - began,
            inventory=session.inventory,
            load=load,
            monitor=self._monitor,
            faults=self._faults,
            phases=self._phases,
            log=log,
            audit=self._audit,
        )
        return verdict.conclude(receipt, self._interrupted, self._aborted)

    def _run_phases(self) -> None:
        """Run the phases and note an interruption or the reason for an early end."""
        try:
            self._phases.run()
        except (KeyboardInterrupt, SystemExit) as end:
            self._interrupted = ExitCode.of(end)
            self._log.add("interrupted: rolling back")
        except Aborted as reason:
            self._aborted = str(reason)
            self._log.add(f"aborted: {reason}")
        except CliError as error:
            self._aborted = f"{error.what} {error.why}"
            self._log.add(f"aborted: {self._aborted}")

    def _tear_down(self) -> None:
        """Roll back, end the load, evaluate what remains and audit."""
        checks = self._phases.checks
        self._load.finish() if self._interrupted is None else self._load.stop()
        left = self._faults.roll_back()
        checks.append(evaluate.rolled_back(self._drill, left))
        self._log.add("rolled back: all faults are off" if not left else f"NOT rolled back: {'; '.join(left)}")
        self._load.wait_until_done()
        if counts := self._monitor.sample().injected:
            self._faults.record_hits(counts)
        if self._interrupted is None:
            self._evaluate_faults()
            checks += self._run_audit()
        checks += self._phases.abort.checks()
        checks += evaluate.not_reached(self._drill, checks)

    def _evaluate_faults(self) -> None:
        """Evaluate the expectations from the first fault until the end of the load."""
        began = self._faults.first_began
        if self._aborted and began is None:
            return
        self._phases.evaluate_period("faults", self._drill.expect, began or 0.0, self._drill.load.seconds)
        injections = self._faults.injections
        lost = self._lease.lost.why if self._lease.lost else None
        self._phases.checks += [
            evaluate.orders_answered(self._load.orders),
            evaluate.only_own_faults(self._drill, injections.values(), self._monitor.samples, lost),
            *evaluate.faults_fired(self._drill, injections),
        ]

    def _run_audit(self) -> list[Check]:
        self._log.add("auditing")
        try:
            self._audit = audit(self._sources, self._request.journal, float(self._drill.drain))
        except CliError as error:
            return [Check("audit", "the audit", "not-measured", str(error))]
        return evaluate.invariants(self._drill, self._audit)
