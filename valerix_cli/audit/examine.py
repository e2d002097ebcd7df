"""The audit itself: reads both databases as they were at three moments, and judges each rule."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from valerix_cli.audit import acknowledged, cache, model, queries
from valerix_cli.audit.acknowledged import Client, Row
from valerix_cli.audit.cache import Cached
from valerix_cli.audit.lines import Bucket, Comparison, Refusals
from valerix_cli.audit.model import Audit, Compared, Found, Invariant
from valerix_cli.audit.queries.databases import Connection
from valerix_cli.audit.sources import Snapshots, Sources, snapshots
from valerix_cli.errors import BadUsageError

SETTLE_LIMIT = 60.0  # seconds
KEYS_AT_ONCE = 10_000


def audit(sources: Sources, journal: Path | None = None, settle_limit: float = SETTLE_LIMIT) -> Audit:
    """Say whether each key had exactly one effect, and, with a client's journal, whether the client received so.

    Reads only, and is sound while orders are in flight. `settle_limit` is in seconds.
    Raises UnreachableError, and BadUsageError for a file that is no journal.
    """
    began, at = time.monotonic(), datetime.now(UTC)
    client = Client(journal) if journal else None
    if client:
        client.read_on()  # what was told before the snapshots must be in them
    cached = cache.read(sources.redis)  # the same
    with snapshots(sources) as moments, ThreadPoolExecutor(max_workers=1) as beside:
        if client:
            _refuse_other_platforms(client, queries.databases.platform(moments.after))
        history = beside.submit(queries.history.broken_histories, moments.history)
        leases = beside.submit(queries.history.broken_leases, moments.history)
        comparison = compare(moments)
        refusals = _compare_refusals(moments)
        orders = queries.orders.orders_by_status(moments.after)
        ledger_lines = queries.stock.ledger_lines(moments.inventory)
        settled = queries.orders.unsettled(moments.after, settle_limit)
        invariants = [
            model.ONE_ORDER_PER_KEY.judge(_once(queries.orders.doubled_keys(moments.after), comparison.ids.found)),
            *_of_stock(moments.inventory),
            model.CONFIRMED_MEANS_DEDUCTED.judge(
                comparison.confirmed.found.plus(queries.stock.releases(moments.inventory))
            ),
            model.DEDUCTED_MEANS_ORDERED.judge(comparison.deducted.found),
            model.FAILED_MEANS_REFUSED.judge(refusals.failed.found),
            model.REFUSED_MEANS_ORDERED.judge(refusals.refused.found),
            model.ONE_OUTCOME_PER_ORDER.judge(queries.stock.refused_and_deducted(moments.inventory)),
            model.FINGERPRINTS_FIT.judge(queries.orders.other_fingerprints(moments.after)),
            model.LEDGER_IN_ORDER.judge(queries.stock.disordered_ledger(moments.inventory)),
            transitions := model.TERMINAL_STAYS.judge(
                history.result().plus(queries.history.other_reasons(moments.after))
            ),
            model.LEASES_KEPT.judge(leases.result().plus(queries.history.other_tokens(moments.after))),
            model.SETTLED.judge(settled),
            _of_client(client, moments.after) if client else model.ACKNOWLEDGED_NOT_LOST.unchecked(),
            *([] if cached.why_not else [_of_cache(cached, moments.after)]),
        ]
    compared = Compared(
        orders=orders,
        events=transitions.checked,
        deductions=comparison.deducted.checked,
        refusals=refusals.refused.checked,
        items=invariants[1].checked,
        ledger_lines=ledger_lines,
        journal_keys=len(client.sent) if client else None,
    )
    return Audit(
        verdict=model.conclude(invariants),
        at=at,
        seconds=round(time.monotonic() - began, 3),
        settle_limit_seconds=settle_limit,
        compared=compared,
        invariants=invariants,
        not_checked=_not_checked(client, cached, compared),
        without_orders=compared.is_without_orders,
    )


def compare(moments: Snapshots) -> Comparison:
    """Have the databases sort their lines side by side, then compare what comes."""
    streams = (
        queries.streams.confirmed_orders(moments.before),
        queries.streams.deductions(moments.inventory),
        queries.streams.living_orders(moments.after),
    )
    comparison = Comparison()
    with ThreadPoolExecutor(max_workers=len(streams)) as side_by_side:
        comparison.run(*side_by_side.map(_begun, streams))
    return comparison


def _compare_refusals(moments: Snapshots) -> Refusals:
    refusals = Refusals()
    refusals.hold_failed(
        queries.streams.failed_orders(moments.before), queries.streams.reasoned_refusals(moments.inventory)
    )
    refusals.hold_refused(
        queries.streams.refusals(moments.inventory), queries.streams.unconfirmed_orders(moments.after)
    )
    return refusals


def _begun(stream: Iterator[Bucket]) -> Iterable[Bucket]:
    """The same stream once its first bucket is there, which is most of the database's work."""
    return chain(list(islice(stream, 1)), stream)


def _once(keys: Found, ids: Found) -> Found:
    """Orders with one key have one id too, since ids are made from keys: they count once, by their key."""
    return keys.plus(Found(ids.checked) if keys.broken else ids)


def _of_stock(conn: Connection) -> list[Invariant]:
    return [
        model.NO_OVERSELL.judge(queries.stock.oversold(conn)),
        model.STOCK_CONSERVED.judge(queries.stock.unbalanced(conn)),
    ]


def _of_client(client: Client, conn: Connection) -> Invariant:
    told = dict(client.told)
    unanswered = [key for key in client.sent if key not in told]
    found = acknowledged.compare(told, _rows_of(conn, list(told))).plus(_never_sent(client, unanswered, conn))
    found = _with_strangers(found, client, conn)
    rule = model.ACKNOWLEDGED_NOT_LOST
    return rule.judge(found) if told or found.broken else rule.unchecked()


def _of_cache(cached: Cached, conn: Connection) -> Invariant:
    answers = cached.of(queries.databases.identity(conn))
    return model.CACHE_AGREES.judge(cache.compare(answers, _rows_of(conn, list(answers))))


def _refuse_other_platforms(client: Client, platform: str | None) -> None:
    """Raise BadUsageError where a journal is about the orders of another platform, none of which is lost here."""
    for other, run in client.platforms.items():
        if other is not None and other != platform:
            raise BadUsageError(
                "That journal is another platform's.",
                f"its run {run} sent to platform {other}, and this is {platform or 'one without an id'}",
                "valerix --context NAME audit --journal FILE, with the context that the journal was written with",
            )


def _never_sent(client: Client, keys: list[str], conn: Connection) -> Found:
    """Orders of unanswered keys for what the client never sent under them, going by the journal as it is then."""
    others = [row for row in _rows_of(conn, keys) if acknowledged.is_other(row, client.sent)]
    if others:
        client.read_on()
    return acknowledged.never_sent([row for row in others if acknowledged.is_other(row, client.sent)])


def _rows_of(conn: Connection, keys: list[str]) -> Iterator[Row]:
    for first in range(0, len(keys), KEYS_AT_ONCE):
        yield from queries.orders.orders_of(conn, keys[first : first + KEYS_AT_ONCE])


def _with_strangers(found: Found, client: Client, conn: Connection) -> Found:
    """Add the orders that nobody sent. A line stands in the journal before its order is sent, so it is read again."""
    unknown = [
        row
        for prefix in client.prefixes
        for row in queries.orders.keys_beginning(conn, prefix)
        if row.key not in client.sent
    ]
    if unknown:
        client.read_on()
    strangers: list[Row] = [row for row in unknown if row.key not in client.sent]
    return found.plus(acknowledged.strangers(strangers))


def _not_checked(client: Client | None, cached: Cached, compared: Compared) -> list[str]:
    left = ["that what was deducted has left the warehouse: Valerix sees its own books only"]
    if compared.is_without_orders:
        left.append("any order: there is none")
    if client is None:
        left.append("that no acknowledged order is lost: only the client knows; give its journal with --journal")
    elif not client.told:
        left.append("that no acknowledged order is lost: the journal has no answer with an order")
    elif None in client.platforms:
        left.append("that the journal is this platform's: it does not say which platform it was written for")
    if client is not None and not client.prefixes:
        left.append("that every order was sent by this client: its journal claims no keys for itself alone")
    if cached.why_not:
        left.append(f"that cached answers agree with their orders: {cached.why_not}")
    elif not cached.is_all:
        left.append(f"cached answers beyond the first {len(cached.answers):,}")
    return left
