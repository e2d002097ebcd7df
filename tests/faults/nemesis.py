"""Injects random faults into a platform of real processes under load, then stops and audits it.

python -m tests.faults.nemesis --seed 7 --minutes 2 --rate 50

The seed decides the orders and the sequence of faults; the speed of the machine decides how many faults there are.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import psycopg

from tests.faults.open_load import Load
from tests.faults.platform import Platform
from tests.faults.proxy import LoopThread
from tests.faults.random_faults import Nemesis
from tests.faults.report import NemesisReport, settling_of, verdict_of
from tests.processes import eventually
from valerix_cli.audit import Sources, audit
from valerix_cli.journal import JournalWriter

SETTLED_WITHIN = 120.0  # seconds
TAIL = 120.0  # seconds for the last requests to be answered or given up


def run(directory: Path, *, seed: int, seconds: float, rate: float, progress: Callable[[str], None]) -> NemesisReport:
    """Start a platform in `directory`, inject faults for `seconds` at `rate` orders per second, then audit it.

    Everything that was started has ended when this returns or raises. Call it from the main thread.
    """
    prefix = f"nemesis-{seed}-"
    journal = directory / "journal.jsonl"
    with ExitStack() as stack:
        platform = Platform(directory, stack)
        writer = stack.enter_context(JournalWriter(journal, f"nemesis {seed}", prefix))
        sending = stack.enter_context(LoopThread("load"))
        nemesis = Nemesis(platform, seed, progress)
        urls = [order.url for order in platform.shop.orders]
        load = Load(urls, writer, seed=seed, rate=rate, seconds=seconds, prefix=prefix)
        under_way = sending.submit(load.run())
        nemesis.inject_faults(seconds)
        progress("all faults are over; waiting for the last answers, and for every order to settle")
        orders = stack.enter_context(psycopg.connect(platform.orders_url, autocommit=True))
        healed_at: datetime = _one(orders, b"SELECT now()")
        nemesis.heal()
        try:
            under_way.result(TAIL)
        except TimeoutError:
            nemesis.trouble(f"clients still wait for answers {TAIL:.0f} s after the last fault")
            under_way.cancel()
        requeued = _settled(platform, orders, nemesis)
        settling = settling_of(orders, healed_at)
        found = audit(Sources(platform.orders_url, platform.inventory_url), journal, settle_limit=0.0)
    tally = load.tally
    return NemesisReport(
        verdict=verdict_of(found, tally, nemesis.troubles, nemesis.fired),
        seed=seed,
        seconds=seconds,
        rate=rate,
        sent=tally.sent,
        answers=tally.answers,
        faults=nemesis.fired,
        acknowledged=tally.acknowledged,
        unknown=tally.unknown,
        statuses=settling.statuses,
        requeued=requeued,
        settled_after=settling.after,
        settling_p50=settling.p50,
        settling_p99=settling.p99,
        contradictions=tally.contradictions,
        troubles=nemesis.troubles,
        audit=found,
        command=f"python -m tests.faults.nemesis --seed {seed} --minutes {seconds / 60:g} --rate {rate:g}",
    )


def _one(conn: psycopg.Connection, query: bytes) -> Any:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def _settled(platform: Platform, orders: psycopg.Connection, nemesis: Nemesis) -> int:
    """Wait until no order is unfinished, and requeue dead ones; return the number of those."""

    def none_unfinished() -> bool:
        return not _one(orders, b"SELECT count(*) FROM orders WHERE status IN ('pending', 'queued')")

    requeued = 0
    try:
        eventually(none_unfinished, SETTLED_WITHIN, "every order settled")
        answer = platform.shop.operator.post(f"{platform.shop.order.url}/api/admin/queue/requeue", json={"all": True})
        requeued = len(answer.raise_for_status().json()["requeued"])
        eventually(none_unfinished, SETTLED_WITHIN, "every requeued order settled")
    except AssertionError as error:
        nemesis.trouble(str(error))
    return requeued


def main() -> int:
    """Run the nemesis. Return 0 if everything is clean, 11 on a violation, 12 if inconclusive, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=50.0, help="orders per second")
    parser.add_argument("--directory", type=Path, help="where data, logs and journal are to stay; must not exist yet")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    with _directory(asked.directory) as directory:
        report = run(directory, seed=asked.seed, seconds=asked.minutes * 60, rate=asked.rate, progress=_tell)
        encoded = msgspec.json.format(msgspec.json.encode(report))
        (directory / "report.json").write_bytes(encoded)
    print(encoded.decode())  # noqa: T201 - it is a command
    return {"clean": 0, "violated": 11}.get(report.verdict, 12)


@contextmanager
def _directory(wanted: Path | None) -> Iterator[Path]:
    """Yield the requested directory, else a temporary one; PostgreSQL's account can traverse both."""
    if wanted:
        wanted.mkdir(parents=True)
        yield wanted.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="valerix-nemesis-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
