"""Generated results for tests."""

from datetime import UTC, datetime

import msgspec

from tests.benchmarks.results import Bound, Drain, Machine, Ordeal, Result, Sample

BOUND = Bound(order_rows=4000.0, stock_row=4000 / 3, alone=2.0)  # 1,000 orders per second one by one
DRAIN = Drain(20_000, 0, 10.0, 20.0, 2000.0, [(0.0, 20_000), (20.0, 0)])


def sample(per_second: float = 1000.0, p50: float = 5.0, **more: object) -> Sample:
    made = Sample(per_second=per_second, p50=p50, p95=20.0, p99=40.0, statuses={"201": 1000})
    return msgspec.structs.replace(made, **more)


def ordeal(**more: object) -> Ordeal:
    live = sample(1200.0, statuses={"202": 100})
    made = Ordeal(
        calm=sample(), live=live, statuses={"202": 100}, unanswered=0, opened_after=8.0, drain=DRAIN, audit="clean"
    )
    return msgspec.structs.replace(made, **more)


def result(**more: object) -> Result:
    """Return a result of one round with the bound and `more`."""
    made = Result(
        command="nox -s bench",
        started=datetime(2026, 11, 25, tzinfo=UTC),
        machine=Machine("A processor", 2, 24.0, "Linux 6.18", "3.11.7", "ext4"),
        driver="wrk 4.1.0",
        server={"server_version": "18.6", "fsync": "on", "synchronous_commit": "on"},
        settings={"VALERIX_BACKLOG_CAP": "1000000"},
        scripts={"order row": "INSERT;"},
        rounds=1,
        seconds=5.0,
        bounds=[BOUND],
    )
    return msgspec.structs.replace(made, **more)
