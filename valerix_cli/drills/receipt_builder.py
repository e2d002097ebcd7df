"""Builds the receipt of a run."""

from datetime import datetime

from valerix_cli.audit import Audit
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.drills.background_load import BackgroundLoad
from valerix_cli.drills.event_log import EventLog
from valerix_cli.drills.faults import FaultScheduler
from valerix_cli.drills.metrics import timeline
from valerix_cli.drills.monitor import Monitor
from valerix_cli.drills.phases import Phases
from valerix_cli.drills.receipt import Check, Hit, Phase, Receipt
from valerix_cli.drills.run_request import RunRequest
from valerix_cli.errors import CliError

_PHASE_ORDER: tuple[Phase, ...] = ("steady", "faults", "recover", "drain", "audit", "roll-back")


def build_receipt(  # noqa: PLR0913 - the parts of a run
    request: RunRequest,
    *,
    context: str,
    versions: dict[str, str],
    key_prefix: str,
    started_at: datetime,
    seconds: float,
    inventory: InventoryClient,
    load: BackgroundLoad,
    monitor: Monitor,
    faults: FaultScheduler,
    phases: Phases,
    log: EventLog,
    audit: Audit | None,
) -> Receipt:
    """Return the receipt with all checks, before its outcome is decided."""
    drill, file, result = request.file.drill, request.file, load.result
    hits, hits_complete = _hits(inventory, faults)
    return Receipt(
        run=request.run,
        drill=drill.name,
        description=drill.description,
        source=file.origin,
        text=file.text,
        seed=drill.seed,
        key_prefix=key_prefix,
        started_at=started_at,
        seconds=round(seconds, 2),
        context=context,
        versions=versions,
        rerun_command=request.rerun_command,
        outcome="passed",
        exit_code=0,
        why=[],
        checks=_sorted(phases.checks),
        injections=[*faults.injections.values()],
        hits=hits,
        hits_complete=hits_complete,
        opened_after=phases.meter.opened_after(),
        recovered_after=phases.recovered_after,
        orders=len(load.orders),
        requests=result.requests if result else 0,
        outcomes=result.outcomes if result else {},
        answers=result.answers if result else {},
        figures=phases.metrics,
        events=log.events,
        timeline=timeline(load.orders, monitor.samples),
        audit=audit,
        journal=str(request.journal),
        replays=request.replays,
    )


def _sorted(checks: list[Check]) -> list[Check]:
    return sorted(checks, key=lambda check: _PHASE_ORDER.index(check.phase))


def _hits(inventory: InventoryClient, faults: FaultScheduler) -> tuple[list[Hit], bool]:
    """Return the attempts that gremlins hit, and whether the list is complete."""
    activations = [id_ for injection in faults.injections.values() for id_ in injection.activations]
    hits: set[Hit] = set()
    is_complete = True
    for activation in dict.fromkeys(activations):
        try:
            found = inventory.hits(activation)
        except CliError:
            is_complete = False
            continue
        hits |= {Hit(str(hit.order_id), hit.attempt, hit.gremlin) for hit in found.hits}
        is_complete = is_complete and found.complete
    return sorted(hits), is_complete
