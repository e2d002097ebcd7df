"""`valerix drill`: chaos drills with checks, and receipts of their runs."""

import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from valerix_cli import __version__, files
from valerix_cli import reports as documents
from valerix_cli.audit.sources import find_sources
from valerix_cli.drills import compare as comparison
from valerix_cli.drills import ephemeral_platform, parser, verdict
from valerix_cli.drills.lease import PlatformLease
from valerix_cli.drills.parser import DrillFile
from valerix_cli.drills.receipt import Receipt
from valerix_cli.drills.receipt_store import ReceiptStore
from valerix_cli.drills.run_request import RunRequest
from valerix_cli.drills.runner import Runner
from valerix_cli.errors import BadUsageError, CliError, ExitCode, InconclusiveError, RegressionError
from valerix_cli.local.stack import state_dir
from valerix_cli.options import MOST
from valerix_cli.output import Output, info, print_result
from valerix_cli.output_models import DrillSummary, RunSummary
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.units import parse_share
from valerix_cli.views import drills as views

app = App("Run chaos drills: faults under load, gates, an audit, a receipt.")

_TEMPLATE = "slow-inventory"
_HINTS = {
    "missed": "the receipt has the figures: valerix drill show",
    "violated": "keep the databases as they are; valerix audit",
    "inconclusive": "run it again for longer, or see why: valerix status",
    "not-rolled-back": "valerix chaos off; valerix status",
    "worse": "valerix drill compare",
}

Seed = Annotated[int | None, typer.Option("--seed", min=0, max=MOST, help="Random seed, instead of the file's.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Run on a temporary platform.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, a case per check.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page with plots.")]
Md = Annotated[Path | None, typer.Option("--md", metavar="FILE", help="Write Markdown.")]
Tolerance = Annotated[
    float | None,
    typer.Option("--tolerance", metavar="SHARE", parser=parse_share, help="Tolerated change for the worse; 25%."),
]


@app.command("list")
def list_drills(
    ctx: typer.Context,
    *,
    runs: Annotated[bool, typer.Option("--runs", help="List stored receipts instead.")] = False,
) -> None:
    """List the drills that come with Valerix, or the runs with a receipt."""
    session: Session = ctx.obj
    if runs:
        store = ReceiptStore.from_environment()
        print_result([_run_line(store.find(name)) for name in store.runs()], views.runs_view, session.output)
        return
    print_result([_line(file) for file in parser.shipped()], views.drills_view, session.output)


@app.command("show")
def show_drill(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="A drill, a run, or `last` for the last run.")]
) -> None:
    """Show a drill file, or the receipt of a run."""
    session: Session = ctx.obj
    store = ReceiptStore.from_environment()
    if name == "last" or name in store.runs():
        print_result(store.find(name), views.receipt_view, session.output)
        return
    print_result(parser.find(name).text.rstrip("\n"), str, session.output)


@app.command("init")
def init(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("drill.yaml"),
    *,
    like: Annotated[str, typer.Option("--like", help="Drill to copy.")] = _TEMPLATE,
) -> None:
    """Write a new drill file to start from."""
    session: Session = ctx.obj
    text = parser.find(like).text
    try:
        with file.open("x") as new:
            new.write(text)
    except FileExistsError:
        raise BadUsageError(
            f"{file} was not overwritten.", "it already exists", "valerix drill init OTHER.yaml"
        ) from None
    except OSError as error:
        raise BadUsageError(f"{file} was not written.", str(error.strerror), "valerix drill init FILE") from error
    print_result(str(file), str, session.output)
    checked, run_ = (command(f"valerix drill {verb}", file) for verb in ("validate", "run"))
    info(f"Next: {checked}; {run_}", session.output)


@app.command("validate")
def validate(
    ctx: typer.Context, files: Annotated[list[str], typer.Argument(help="Drill files, or names of drills.")]
) -> None:
    """Check drill files without running anything."""
    session: Session = ctx.obj
    print_result([_line(parser.find(file)) for file in files], views.drills_view, session.output)


@app.command("run")
def run(  # noqa: PLR0913 - each is an option
    ctx: typer.Context,
    drills: Annotated[list[str], typer.Argument(metavar="DRILL...", help="Files, or names of drills.")],
    *,
    seed: Seed = None,
    on_fresh: Fresh = False,
    junit: Junit = None,
    html: Html = None,
    md: Md = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="RUN", help="Exit 14 if a figure is worse than in this receipt.")
    ] = None,
    tolerance: Tolerance = None,
) -> None:
    """Run drills one after the other; the exit code is that of the most severe outcome."""
    session: Session = ctx.obj
    store = ReceiptStore.from_environment()
    found = [_with_seed(parser.find(name), seed) for name in drills]
    against = store.find(baseline) if baseline else None
    _check(junit, html, md)
    if not on_fresh:
        session.confirm_remote(f"run {', '.join(file.drill.name for file in found)}")
    receipts = []
    try:
        for file in found:
            again = _again(file, on_fresh=on_fresh)
            receipt = _run(session, store, file, on_fresh=on_fresh, again=again)
            if against:
                receipt = _compared(receipt, against, tolerance)
                store.save(receipt)
            receipts.append(receipt)
            if receipt.outcome == "interrupted":
                break
    finally:
        _write(receipts, junit, html, md)
    _finish(session, receipts)


@app.command("replay")
def replay(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run, a receipt's file, or `last`.")],
    *,
    junit: Junit = None,
    html: Html = None,
    md: Md = None,
) -> None:
    """Repeat the drill of a receipt on a temporary platform, with exactly the same faults."""
    session: Session = ctx.obj
    store = ReceiptStore.from_environment()
    original = store.find(run)
    _check(junit, html, md)
    if not original.hits_complete:
        raise BadUsageError(
            f"{original.run} cannot be repeated exactly.",
            "its receipt does not list every attempt that was hit",
            original.rerun_command,
        )
    file = _with_seed(
        DrillFile(parser.parse(original.text, original.source), original.text, original.source), original.seed
    )
    again = command("valerix drill replay", original.run)
    receipt = _run(session, store, file, on_fresh=True, again=again, original=original)
    receipt = verdict.compare_hits(receipt, original)
    store.save(receipt)
    _write([receipt], junit, html, md)
    _finish(session, [receipt])


@app.command("compare")
def compare(
    ctx: typer.Context,
    baseline: Annotated[str, typer.Argument(help="A run, a receipt's file, or `last`.")],
    run: Annotated[str, typer.Argument(help="The run to compare with it.")],
    *,
    tolerance: Tolerance = None,
) -> None:
    """Compare the figures of two runs; exit 14 if one is worse."""
    session: Session = ctx.obj
    store = ReceiptStore.from_environment()
    found = comparison.compare(
        store.find(baseline), store.find(run), comparison.TOLERANCE if tolerance is None else tolerance
    )
    print_result(found, views.comparison_view, session.output)
    if worse := [one.metric for one in found.differences if one.worse]:
        why = f"{', '.join(worse)} by more than {found.tolerance:.0%}"
        raise RegressionError(
            f"{found.run} is worse than {found.baseline}.", why, command("valerix drill show", found.run)
        )
    if not found.has_common_metric:
        raise InconclusiveError(
            "There is nothing to compare.",
            "no figure was measured in both runs",
            command("valerix drill show", found.run),
        )


def _run(
    session: Session,
    store: ReceiptStore,
    file: DrillFile,
    *,
    on_fresh: bool,
    again: str,
    original: Receipt | None = None,
) -> Receipt:
    """Run one drill and store its receipt. Raises CliError if its preflight fails."""
    print_line = _line_printer(session.output)
    run = store.new_run(file.drill.name, datetime.now(UTC))
    run_request = RunRequest(
        file=file,
        run=run,
        journal=store.journal(run),
        rerun_command=again,
        directory=state_dir(),
        key_prefix=original.key_prefix if original else None,
        script=original.hits if original else None,
        replays=original.run if original else None,
    )
    print_line(f"drill {file.drill.name}, seed {file.drill.seed}, run {run}")
    if on_fresh:
        with ephemeral_platform.started(file.drill.platform.replicas, print_line) as directory:
            run_request = msgspec.structs.replace(run_request, directory=directory)
            receipt = _here(session.with_option("context", "local"), run_request, print_line)
    else:
        receipt = _here(session, run_request, print_line)
    path = store.save(receipt)
    info(f"Receipt: {path}", session.output)
    return receipt


def _here(session: Session, run_request: RunRequest, print_line: Callable[[str], None]) -> Receipt:
    sources = find_sources(session.context)
    versions = {"valerix": __version__, "python": platform.python_version(), "system": platform.platform(terse=True)}
    with PlatformLease(session, run_request.run, run_request.file.drill.name) as lease:
        return Runner(session, sources, run_request, versions, lease, print_line).run()


def _with_seed(file: DrillFile, seed: int | None) -> DrillFile:
    if seed is None:
        return file
    return msgspec.structs.replace(file, drill=msgspec.structs.replace(file.drill, seed=seed))


def _again(file: DrillFile, *, on_fresh: bool) -> str:
    known = any(one.drill.name == file.drill.name and one.text == file.text for one in parser.shipped())
    name = file.drill.name if known else file.origin
    return command("valerix drill run", name, seed=file.drill.seed, fresh=on_fresh)


def _compared(receipt: Receipt, against: Receipt, tolerance: float | None) -> Receipt:
    found = comparison.compare(against, receipt, comparison.TOLERANCE if tolerance is None else tolerance)
    return verdict.add_comparison(receipt, found)


def _check(junit: Path | None, html: Path | None, md: Path | None) -> None:
    """Raise BadUsageError, before anything is run, if a document could not be written."""
    for path, kind in ((junit, documents.JUNIT), (html, documents.HTML), (md, documents.MARKDOWN)):
        files.check(path, kind)


def _write(receipts: Sequence[Receipt], junit: Path | None, html: Path | None, md: Path | None) -> None:
    """Write the requested documents. Raises CliError if one cannot be written."""
    reports: list[tuple[Path | None, files.Kind, Callable[[], bytes]]] = [
        (junit, documents.JUNIT, lambda: documents.junit(receipts)),
        (html, documents.HTML, lambda: documents.html(receipts).encode("utf-8", "replace")),
        (md, documents.MARKDOWN, lambda: "\n".join(map(documents.markdown, receipts)).encode("utf-8", "replace")),
    ]
    for path, kind, make in reports:
        if path is None or not receipts:
            continue
        try:
            files.write(path, make(), kind)
        except OSError as error:
            raise CliError(f"{path} was not written.", str(error.strerror), "valerix drill show last") from error


def _finish(session: Session, receipts: Sequence[Receipt]) -> None:
    """Show the receipts, and exit with the code of the worst. Raises CliError, KeyboardInterrupt or SystemExit."""
    if len(receipts) == 1:
        print_result(receipts[0], views.receipt_view, session.output)
    else:
        print_result([*receipts], lambda found: views.runs_view([*map(_run_line, found)]), session.output)
    worst = verdict.worst(receipts)
    if worst.exit_code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if worst.exit_code in {ExitCode.HUNG_UP, ExitCode.TERMINATED}:
        raise SystemExit(worst.exit_code)
    if worst.exit_code:
        conclusion = views.CONCLUSIONS[worst.outcome].partition(".")[0] + "."
        error = CliError(conclusion, "; ".join(worst.why[:5]), _HINTS[worst.outcome])
        error.code = ExitCode(worst.exit_code)
        raise error


def _line(file: DrillFile) -> DrillSummary:
    drill = file.drill
    return DrillSummary(
        drill.name,
        float(drill.load.seconds),
        [fault.description for fault in drill.faults],
        drill.description.strip(),
        file.origin,
    )


def _run_line(receipt: Receipt) -> RunSummary:
    injected = sum(injection.hits for injection in receipt.injections)
    return RunSummary(
        receipt.run,
        receipt.drill,
        receipt.seed,
        receipt.started_at,
        receipt.outcome,
        receipt.exit_code,
        injected,
        receipt.orders,
    )


def _line_printer(output: Output) -> Callable[[str], None]:
    return lambda text: info(text, output)
