"""`valerix audit`: verification of the invariants against the databases."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from valerix_cli.audit import SETTLE_LIMIT, Audit, Sources, model
from valerix_cli.audit import audit as run_audit
from valerix_cli.audit.model import Invariant
from valerix_cli.audit.repair import Deduct, retry
from valerix_cli.audit.sources import find_sources
from valerix_cli.errors import BadUsageError, CliError, InconclusiveError, InvariantError
from valerix_cli.output import follow, info, print_result, spinner
from valerix_cli.polling import poll
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.units import parse_positive_duration
from valerix_cli.views import audit as views
from valerix_cli.waiting import wait_for

_EVERY = 5.0  # seconds
_AGAIN = 0.5  # seconds between two checks whether a repair has settled


def audit(
    ctx: typer.Context,
    *,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="FILE",
            help="Journal of a client's requests and responses, compared with the databases.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat the audit until Ctrl-C.")] = False,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="DURATION", parser=parse_positive_duration, help="Interval of --watch; 5s."),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            "--settle",
            metavar="DURATION",
            parser=parse_positive_duration,
            help="How long an order may stay unfinished; 60s.",
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="First retry unfinished orders, and wait until they are settled.")
    ] = False,
) -> None:
    """Prove from both databases that each key had exactly one effect; exit 11 when not, 12 while unsettled."""
    session: Session = ctx.obj
    sources, limit = find_sources(session.context), SETTLE_LIMIT if settle is None else settle
    if watch and repair:
        raise BadUsageError("--watch and --repair cannot be combined.", "one only observes", "valerix audit --help")
    if watch:
        follow(
            poll(lambda: run_audit(sources, journal, limit), session.output, every=_EVERY if every is None else every),
            screen=views.audit_view,
            changes=changed,
            line=views.invariant_line,
            output=session.output,
        )
        return
    repaired = _repair(session, sources, limit) if repair else []
    with spinner("auditing", session.output):
        found = run_audit(sources, journal, limit)
    print_result(msgspec.structs.replace(found, repaired=repaired), views.audit_view, session.output)
    if error := error_of(found):
        raise error


def changed(before: Audit | None, now: Audit) -> list[Invariant]:
    """Return the invariants that are new or whose verdict has changed."""
    known = {one.name: (one.verdict, one.broken) for one in before.invariants} if before else {}
    return [one for one in now.invariants if known.get(one.name) != (one.verdict, one.broken)]


def error_of(found: Audit) -> CliError | None:
    """Return the error to exit with; None if the audit is clean."""
    if found.verdict == "clean":
        return _without_answers(found)
    wrong = [one for one in found.invariants if one.verdict == found.verdict]
    named = ", ".join(f"{one.name} ({one.broken})" for one in wrong)
    example = wrong[0].examples[0]
    why = f"{named}; first: {example.subject}: {example.wrong}"
    if found.verdict == "violated":
        return InvariantError(
            "An invariant is violated.",
            why,
            f"{command('valerix explain', wrong[0].name)}; keep the databases as they are",
        )
    return InconclusiveError(
        "The audit is inconclusive: some orders are not settled.", why, "valerix queue status; valerix audit again"
    )


def _without_answers(found: Audit) -> CliError | None:
    """Return the error for a journal without any response to compare."""
    checked = any(one.name == model.ACKNOWLEDGED_NOT_LOST.name and one.verdict == "held" for one in found.invariants)
    if found.compared.journal_keys is None or checked:
        return None
    why = f"it has {found.compared.journal_keys:,} keys, and no response with an order"
    return InconclusiveError(
        "The journal has nothing to compare.", why, "valerix load --journal FILE; valerix audit --journal FILE"
    )


def _repair(session: Session, sources: Sources, settle: float) -> list[str]:
    """Retry unfinished orders, and wait until they are settled or time is up. Returns a sentence for each retry."""
    session.confirm_remote("requeue dead orders and retry missing deductions")
    done = retry(sources, session.orders, _deducting(session))
    for sentence in done:
        info(sentence, session.output)
    info(f"Retried: {len(done)}.", session.output)
    with spinner("waiting until all orders are settled", session.output):
        wait_for(lambda: not done or not session.orders.queue().depth, min(settle, session.wait), interval=_AGAIN)
    return done


def _deducting(session: Session) -> Deduct | None:
    token = session.context.service_token
    if token is None:
        return None
    return lambda order: session.inventory.deduct(order.order_id, order.item_id, order.quantity, token)
