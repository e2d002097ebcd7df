"""The fault campaign: trials that kill and stop a process at every crash point, then random faults under load.

python -m tests.faults.campaign --seed 7 --trials 25 --lanes 3 --minutes 10 --directory DIRECTORY

Writes receipt.json and receipt.md to the directory. Exit 0: everything was tried and every invariant held; 11: an
invariant was violated; 12: a fault never fired or orders did not settle; 130: interrupted, continue with `--resume`.
"""

import argparse
import contextlib
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from tests.faults import nemesis
from tests.faults.parallel import Lanes
from tests.faults.receipt import Campaign, Receipt, as_json, as_markdown, summary, write_up
from tests.faults.report import NemesisReport
from tests.faults.results import Refused, Results
from tests.faults.scenarios import CELLS
from tests.faults.trial_platform import grounds
from tests.faults.trials import Trial
from tests.faults.versions import versions

SAY_EVERY = 15.0  # seconds between lines of progress, without a terminal
BAD_USAGE, INTERRUPTED = 2, 130


def run_trials(results: Results, lanes: int, console: Console) -> None:
    """Run the remaining trials in parallel lanes."""
    plan, halt = results.left(), threading.Event()
    if not plan:
        return
    journals = results.directory / "journals"
    journals.mkdir(exist_ok=True)
    with _progress(len(plan), console) as show:

        def record(trial: Trial) -> None:
            results.add(trial)
            show(trial)

        with grounds(journals) as servers:
            Lanes(servers, results.campaign.seed, record, halt).run(plan, lanes)


def run_nemesis(results: Results, *, seconds: float, rate: float, console: Console) -> NemesisReport:
    """Run the nemesis, unless an earlier run of this campaign has done so. Return its report."""
    kept = results.directory / "nemesis.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=NemesisReport)
    with tempfile.TemporaryDirectory(prefix="valerix-nemesis-") as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user when we are root
        report = nemesis.run(
            Path(name),
            seed=results.campaign.seed,
            seconds=seconds,
            rate=rate,
            progress=lambda line: console.print(line, markup=False, highlight=False),
        )
    kept.write_bytes(msgspec.json.encode(report))
    return report


def conclude(results: Results, report: NemesisReport | None) -> Receipt:
    """Write both receipts."""
    receipt = write_up(results.campaign, results.trials, report, datetime.now(UTC))
    (results.directory / "receipt.json").write_bytes(as_json(receipt))
    (results.directory / "receipt.md").write_text(as_markdown(receipt))
    return receipt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    if not any(asked.match in str(cell) for cell in CELLS):
        parser.error(f"nothing matches {asked.match!r}; there are {', '.join(map(str, CELLS))}")
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    directory = asked.directory or Path(tempfile.mkdtemp(prefix="valerix-faults-"))
    console = Console(stderr=True)
    console.print(f"seed {seed}, results in {directory}", highlight=False, soft_wrap=True)
    campaign = _campaign(asked, seed)
    for number in (signal.SIGINT, signal.SIGTERM):  # shells start background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    report = None
    try:
        results = (Results.resume if asked.resume else Results.begin)(directory, campaign)
    except Refused as refused:
        console.print(str(refused), style="red", markup=False)
        return BAD_USAGE
    try:
        if asked.only != "nemesis":
            run_trials(results, asked.lanes, console)
        if asked.only != "trials":
            report = run_nemesis(results, seconds=asked.minutes * 60, rate=asked.rate, console=console)
    except KeyboardInterrupt:
        conclude(results, report)
        console.print(f"interrupted; to go on: {campaign.repeat} --directory {directory} --resume", soft_wrap=True)
        return INTERRUPTED
    receipt = conclude(results, report)
    sys.stdout.write(summary(receipt))
    return receipt.exit_code


def _campaign(asked: argparse.Namespace, seed: int) -> Campaign:
    cells = tuple(cell for cell in CELLS if asked.match in str(cell))
    repeat = (
        f"python -m tests.faults.campaign --seed {seed} --trials {asked.trials} --lanes {asked.lanes}"
        f" --minutes {asked.minutes:g} --rate {asked.rate:g}"
    )
    repeat += f" --only {asked.only}" if asked.only else ""
    repeat += f" --match {asked.match}" if asked.match else ""
    return Campaign(
        seed=seed,
        trials=0 if asked.only == "nemesis" else asked.trials,
        cells=cells,
        started=datetime.now(UTC),
        versions=versions(),
        repeat=repeat,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.campaign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="decides everything that is tried; random, and printed, if not given")
    parser.add_argument("--trials", type=int, default=25, help="of each crash point and signal")
    parser.add_argument("--lanes", type=int, choices=range(1, 16), default=3, metavar="N", help="trials side by side")
    parser.add_argument("--minutes", type=float, default=10.0, help="of random faults")
    parser.add_argument("--rate", type=float, default=50.0, help="orders a second during these")
    parser.add_argument("--directory", type=Path, help="where results are kept; a new temporary one if not given")
    parser.add_argument("--only", choices=["trials", "nemesis"])
    parser.add_argument("--match", default="", metavar="TEXT", help="only trials with it in process/point/signal")
    parser.add_argument("--resume", action="store_true", help="go on with the campaign in the directory")
    return parser


@contextlib.contextmanager
def _progress(total: int, console: Console) -> Iterator[Callable[[Trial], None]]:
    """Yield a function that reports a trial: on a terminal in a progress bar, else in lines.

    Failures are printed at once.
    """
    done, said_at = 0, time.monotonic()
    bar = Progress(
        *Progress.get_default_columns(), TimeElapsedColumn(), console=console, disable=not console.is_terminal
    )
    with bar:
        task = bar.add_task("trials", total=total)

        def show(trial: Trial) -> None:
            nonlocal done, said_at
            done += trial.is_over
            bar.update(task, completed=done)
            for why in trial.wrong:
                console.print(f"{trial.seed}: {why}", style="red", markup=False, highlight=False)
            if not console.is_terminal and (time.monotonic() - said_at > SAY_EVERY or done == total):
                said_at = time.monotonic()
                console.print(f"{done} of {total} trials", highlight=False)

        yield show


if __name__ == "__main__":
    # Every process forked for a service would import its parent's main module again, and this one has many imports.
    __spec__ = None  # type: ignore[assignment]  # None, as for a file run by its path
    del __file__
    sys.exit(main())
