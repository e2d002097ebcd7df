"""The report of a nemesis run: the faults, and how the platform handled them."""

from datetime import datetime
from typing import Literal

import msgspec
import psycopg

from tests.faults.open_load import Tally
from valerix_cli.audit import Audit

Verdict = Literal["clean", "violated", "unsettled", "inconclusive"]


class NemesisReport(msgspec.Struct, frozen=True):
    """Result of a nemesis run.

    `violated`: two responses contradict each other, or the audit found a forbidden effect. `unsettled`: an order did
    not settle, or a process did not recover. `inconclusive`: no fault fired, or no order was acknowledged. `faults`
    counts actual hits, `sent` orders by kind, `answers` requests by response. Times are in seconds; `settled_after` is
    the time that orders placed under faults took to settle once the faults were over, None if one never did.
    """

    verdict: Verdict
    seed: int
    seconds: float
    rate: float
    sent: dict[str, int]
    answers: dict[str, int]
    faults: dict[str, int]
    acknowledged: int
    unknown: int
    statuses: dict[str, int]
    requeued: int
    settled_after: float | None
    settling_p50: float | None
    settling_p99: float | None
    contradictions: list[str]
    troubles: list[str]
    audit: Audit
    command: str


class Settling(msgspec.Struct, frozen=True):
    """Final statuses of the orders, and the times to settle: since the end of faults, and of each since acceptance."""

    statuses: dict[str, int]
    after: float | None
    p50: float | None
    p99: float | None


def settling_of(orders: psycopg.Connection, healed_at: datetime) -> Settling:
    statuses: dict[str, int] = dict(orders.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall())
    last = orders.execute(
        "SELECT extract(epoch FROM max(updated_at) - %(at)s)::float8 FROM orders WHERE created_at < %(at)s",
        {"at": healed_at},
    ).fetchone()
    each = orders.execute(
        """
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took), percentile_cont(0.99) WITHIN GROUP (ORDER BY took)
        FROM (SELECT extract(epoch FROM updated_at - created_at)::float8 AS took
              FROM orders WHERE status IN ('confirmed', 'failed')) AS final
        """
    ).fetchone()
    assert last is not None
    assert each is not None
    unfinished = statuses.keys() & {"pending", "queued"}
    return Settling(statuses, None if unfinished or last[0] is None else round(max(0.0, last[0]), 2), *each)


def verdict_of(found: Audit, tally: Tally, troubles: list[str], faults: dict[str, int]) -> Verdict:
    if found.verdict == "violated" or tally.contradictions:
        return "violated"
    if found.verdict == "unsettled" or troubles:
        return "unsettled"
    return "clean" if faults and tally.acknowledged else "inconclusive"
