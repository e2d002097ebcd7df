"""`valerix load`: orders at a rate or from a number of clients, measured and checked against requirements."""

import re
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, get_args

import typer

from valerix_cli.drills.model import ITEM
from valerix_cli.errors import BadUsageError, CliError, ExpectationError, InconclusiveError
from valerix_cli.gates import Gate, parse
from valerix_cli.journal import JournalWriter, check_journal
from valerix_cli.load import LoadGenerator, LoadResult, Plan
from valerix_cli.load.model import METRICS, LoadProgress
from valerix_cli.load.thread import run_in_thread
from valerix_cli.load.workload import Mix
from valerix_cli.options import MOST
from valerix_cli.output import info, is_terminal, print_result, progress
from valerix_cli.session import Session
from valerix_cli.units import format_duration, parse_positive_duration, parse_rate, parse_share
from valerix_cli.views import load as views

_RATE = 50.0  # orders per second, unless a rate or clients are given
_FOR = 10.0  # seconds
_TIMEOUT = 10.0  # seconds per request
_LOOK_EVERY, _SAY_EVERY = 0.5, 2.0  # seconds: on a terminal, and otherwise


def load(  # noqa: PLR0913 - each is an option
    ctx: typer.Context,
    *,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", metavar="RATE", parser=parse_rate, help="Orders per second, independent of responses; 50/s."
        ),
    ] = None,
    clients: Annotated[
        int | None, typer.Option("--clients", min=1, max=10_000, help="Clients that each wait for the response.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--for", metavar="DURATION", parser=parse_positive_duration, help="How long to send; 10s."),
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", metavar="ITEM", help="Item to order, repeatable; all items.")
    ] = None,
    mix: Annotated[
        str,
        typer.Option(
            "--mix", metavar="|".join(get_args(Mix)), help="Distribution over items: first, uniform or by rank."
        ),
    ] = "uniform",
    quantity: Annotated[int, typer.Option("--quantity", min=1, max=1000, help="Quantity per order.")] = 1,
    repeats: Annotated[
        float | None,
        typer.Option(
            "--repeats", metavar="SHARE", parser=parse_share, help="Share of requests with a key sent before; 0."
        ),
    ] = None,
    retries: Annotated[int, typer.Option("--retries", min=0, max=MOST, help="Retries with the same key.")] = 0,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=10_000, help="Maximum number of orders in flight, with --rate.")
    ] = 256,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=MOST, help="Random seed (printed if omitted).")
    ] = None,
    key_prefix: Annotated[
        str | None, typer.Option("--key-prefix", help="Prefix of keys; the same prefix and seed send the same orders.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Record requests and responses for valerix audit."),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="GATE", help='Exit 10 unless it holds, such as "p95 < 300ms".'),
    ] = None,
) -> None:
    """Send orders at a rate, or from a number of clients, and measure latency from when each was due."""
    session: Session = ctx.obj
    if rate is not None and clients is not None:
        raise BadUsageError(
            "--rate and --clients cannot be combined.", "a load is either open or closed", "valerix load --help"
        )
    if mix not in get_args(Mix):
        raise BadUsageError(f"Unknown mix `{mix}`.", f"known names: {', '.join(get_args(Mix))}", "--mix zipf")
    check_journal(journal)
    _refuse_strange(key_prefix or "", item or [])
    gates = [parse(text, METRICS) for text in require or []]
    seed = secrets.randbelow(2**31) if seed is None else seed
    plan = Plan(
        rate=None if clients is not None else _RATE if rate is None else rate,
        clients=clients,
        seconds=_FOR if duration is None else duration,
        seed=seed,
        key_prefix=f"load-{secrets.token_hex(4)}-" if key_prefix is None else key_prefix,
        items=item or [found.item_id for found in session.inventory.items()],
        mix=mix,  # type: ignore[arg-type]  # looked up above
        quantity=quantity,
        repeats=repeats or 0.0,
        retries=retries,
        timeout=float(session.settings.setting("timeout").value or _TIMEOUT),
        connections=connections,
    )
    session.replicas("order").send("GET", "/health")  # one error for an unreachable platform instead of thousands
    session.confirm_remote(f"place orders at {views.pace(plan)} for {format_duration(plan.seconds)}")
    info(
        f"{views.pace(plan)} for {format_duration(plan.seconds)}, seed {seed}, keys {plan.key_prefix}…", session.output
    )
    result = run(session, plan, gates, journal)
    print_result(result, views.result_view, session.output, keys=[f"{plan.key_prefix}…"])
    if result.interrupted:
        raise KeyboardInterrupt
    if error := error_of(result):
        raise error


def _refuse_strange(key_prefix: str, items: list[str]) -> None:
    """Raise BadUsageError for a key prefix or item that is invalid, since they are inserted into requests unescaped."""
    if not re.fullmatch(r"[!-~]{0,200}", key_prefix):
        why = f"{key_prefix!r} has to be at most 200 printable ASCII characters without spaces"
        raise BadUsageError("Invalid key prefix.", why, "--key-prefix rehearsal-")
    for strange in (item for item in items if not re.search(ITEM, item)):
        raise BadUsageError("Item not found.", f"{strange!r} is not an item name", "valerix stock list")


def run(session: Session, plan: Plan, gates: list[Gate], journal: Path | None) -> LoadResult:
    """Run a load and show its progress on stderr. After one Ctrl-C it stops sending and waits for orders in flight."""
    context = session.context
    headers = {"Authorization": f"Bearer {context.operator_token}"} if context.operator_token else {}
    with (
        JournalWriter(journal, "load", plan.key_prefix, session.orders.platform())
        if journal
        else nullcontext() as record
    ):
        going = LoadGenerator(plan, context.services["order"], headers, gates=gates, journal=record)
        result = run_in_thread(going)
        while True:
            try:
                progress(_progress_reports(going, result), views.snapshot_view, views.snapshot_line, session.output)
                return result.result()
            except KeyboardInterrupt:
                if going.is_stopped:
                    raise
                going.stop()
                info(
                    "Stopped sending; waiting for orders in flight. Press Ctrl-C again to leave at once.",
                    session.output,
                )
            except OSError as error:
                raise CliError(
                    "The load was aborted.", f"{journal}: {error.strerror}", "valerix load --journal FILE"
                ) from error


def error_of(result: LoadResult) -> CliError | None:
    """Return the error to exit with; None if all requirements held."""
    if not result.orders:
        return InconclusiveError("No order was sent.", "the load ended before the first one", "valerix load --for 10s")
    missed = [check for check in result.checks if check.held is False]
    unclear = [check for check in result.checks if check.held is None]
    if missed:
        why = "; ".join(f"{check.require}: {check.why}" for check in missed)
        return ExpectationError(
            f"{len(missed)} of {len(result.checks)} requirements were missed.", why, "valerix status"
        )
    if unclear:
        why = "; ".join(check.why for check in unclear)
        return InconclusiveError("The load is inconclusive.", why, "valerix load with a longer --for")
    if result.error_rate == 1:
        why = ", ".join(f"{count} {outcome}" for outcome, count in result.outcomes.items())
        return CliError("No order was accepted.", why, "valerix status")
    return None


def _progress_reports(load: LoadGenerator, result: "Future[LoadResult]") -> Iterator[LoadProgress]:
    """Yield the progress periodically, until the load has ended."""
    every = _LOOK_EVERY if is_terminal(sys.stderr) else _SAY_EVERY
    while not wait([result], every).done:
        yield load.progress()
