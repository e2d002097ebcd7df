"""Runs an audit: takes snapshots of both databases and evaluates each invariant."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from valerix_cli.audit import cache, journal_check, model, queries
from valerix_cli.audit.cache import CachedResponses
from valerix_cli.audit.comparison import Bucket, Comparison, RefusalComparison
from valerix_cli.audit.journal_check import ClientJournal, OrderRow
from valerix_cli.audit.model import Audit, Coverage, Finding, Invariant
from valerix_cli.audit.queries.databases import Connection
from valerix_cli.audit.sources import Snapshots, Sources, take_snapshots
from valerix_cli.errors import BadUsageError

SETTLE_LIMIT = 60.0  # seconds
KEYS_PER_QUERY = 10_000


def audit(sources: Sources, journal: Path | None = None, settle_limit: float = SETTLE_LIMIT) -> Audit:
    """Check that each key had exactly one effect and, with a client's journal, that responses match the databases.

    Only reads, and is sound while orders are in flight. `settle_limit` is in seconds.
    Raises UnreachableError, and BadUsageError if `journal` is not a journal of this platform.
    """
    began, at = time.monotonic(), datetime.now(UTC)
    client = ClientJournal(journal) if journal else None
    if client:
        client.read_new()  # before the snapshots, which then contain every recorded response
    cached = cache.read(sources.redis)  # before the snapshots, for the same reason
    with take_snapshots(sources) as snapshots, ThreadPoolExecutor(max_workers=1) as executor:
        if client:
            _require_same_platform(client, queries.databases.platform(snapshots.after))
        history = executor.submit(queries.history.broken_histories, snapshots.history)
        leases = executor.submit(queries.history.broken_leases, snapshots.history)
        comparison = compare(snapshots)
        refusals = _compare_refusals(snapshots)
        orders = queries.orders.orders_by_status(snapshots.after)
        ledger_lines = queries.stock.ledger_lines(snapshots.inventory)
        settled = queries.orders.unsettled(snapshots.after, settle_limit)
        duplicate_keys = queries.orders.duplicate_keys(snapshots.after)
        invariants = [
            model.ONE_ORDER_PER_KEY.evaluate(_merge_keys_and_ids(duplicate_keys, comparison.ids.finding)),
            *_stock_invariants(snapshots.inventory),
            model.CONFIRMED_MEANS_DEDUCTED.evaluate(
                comparison.confirmed.finding.merge(queries.stock.releases(snapshots.inventory))
            ),
            model.DEDUCTED_MEANS_ORDERED.evaluate(comparison.deducted.finding),
            model.FAILED_MEANS_REFUSED.evaluate(refusals.failed.finding),
            model.REFUSED_MEANS_ORDERED.evaluate(refusals.refused.finding),
            model.ONE_OUTCOME_PER_ORDER.evaluate(queries.stock.refused_and_deducted(snapshots.inventory)),
            model.FINGERPRINTS_FIT.evaluate(queries.orders.wrong_fingerprints(snapshots.after)),
            model.LEDGER_IN_ORDER.evaluate(queries.stock.invalid_ledger_lines(snapshots.inventory)),
            transitions := model.TERMINAL_STAYS.evaluate(
                history.result().merge(queries.history.wrong_reasons(snapshots.after))
            ),
            model.LEASES_KEPT.evaluate(leases.result().merge(queries.history.wrong_tokens(snapshots.after))),
            model.SETTLED.evaluate(settled),
            _check_journal(client, snapshots.after) if client else model.ACKNOWLEDGED_NOT_LOST.unchecked(),
            *([] if cached.unavailable_reason else [_check_cache(cached, snapshots.after)]),
        ]
    coverage = Coverage(
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
        compared=coverage,
        invariants=invariants,
        not_checked=_not_checked(client, cached, coverage),
        without_orders=coverage.is_without_orders,
    )


def compare(snapshots: Snapshots) -> Comparison:
    """Compare orders and deductions. The databases sort their lines concurrently."""
    streams = (
        queries.streams.confirmed_orders(snapshots.before),
        queries.streams.deductions(snapshots.inventory),
        queries.streams.non_failed_orders(snapshots.after),
    )
    comparison = Comparison()
    with ThreadPoolExecutor(max_workers=len(streams)) as executor:
        comparison.run(*executor.map(_prefetch, streams))
    return comparison


def _compare_refusals(snapshots: Snapshots) -> RefusalComparison:
    comparison = RefusalComparison()
    comparison.compare_failed(
        queries.streams.failed_orders(snapshots.before), queries.streams.refusals_with_reason(snapshots.inventory)
    )
    comparison.compare_refused(
        queries.streams.refusals(snapshots.inventory), queries.streams.unconfirmed_orders(snapshots.after)
    )
    return comparison


def _prefetch(stream: Iterator[Bucket]) -> Iterable[Bucket]:
    """Fetch the first bucket, by which time the database has done most of its work; return the whole stream."""
    return chain(list(islice(stream, 1)), stream)


def _merge_keys_and_ids(keys: Finding, ids: Finding) -> Finding:
    """Count an order once, by its key: ids are derived from keys, so a duplicate key is a duplicate id as well."""
    return keys.merge(Finding(ids.checked) if keys.broken else ids)


def _stock_invariants(conn: Connection) -> list[Invariant]:
    return [
        model.NO_OVERSELL.evaluate(queries.stock.oversold(conn)),
        model.STOCK_CONSERVED.evaluate(queries.stock.unbalanced(conn)),
    ]


def _check_journal(client: ClientJournal, conn: Connection) -> Invariant:
    records = dict(client.records)
    unanswered = [key for key in client.sent if key not in records]
    found = journal_check.compare(records, _rows(conn, list(records)))
    found = found.merge(_find_unsent_bodies(client, unanswered, conn)).merge(_find_unsent_keys(client, conn))
    rule = model.ACKNOWLEDGED_NOT_LOST
    return rule.evaluate(found) if records or found.broken else rule.unchecked()


def _check_cache(cached: CachedResponses, conn: Connection) -> Invariant:
    orders = cached.for_database(queries.databases.identity(conn))
    return model.CACHE_AGREES.evaluate(cache.compare(orders, _rows(conn, list(orders))))


def _require_same_platform(client: ClientJournal, platform: str | None) -> None:
    """Raise BadUsageError if the journal belongs to another platform, whose orders cannot be found here."""
    for other, run in client.platforms.items():
        if other is not None and other != platform:
            raise BadUsageError(
                "The journal belongs to another platform.",
                f"its run {run} sent to platform {other}, and this is {platform or 'one without an id'}",
                "valerix --context NAME audit --journal FILE, with the context that the journal was written with",
            )


def _find_unsent_bodies(client: ClientJournal, keys: list[str], conn: Connection) -> Finding:
    """Find orders of unanswered keys with bodies that the client never sent.

    The journal is read again first: entries are written before their orders are sent.
    """
    suspects = [row for row in _rows(conn, keys) if journal_check.is_unsent_body(row, client.sent)]
    if suspects:
        client.read_new()
    return journal_check.unsent_bodies([row for row in suspects if journal_check.is_unsent_body(row, client.sent)])


def _find_unsent_keys(client: ClientJournal, conn: Connection) -> Finding:
    """Find orders with the client's key prefixes that it never sent, after reading the journal again."""
    suspects = [
        row
        for prefix in client.prefixes
        for row in queries.orders.orders_by_prefix(conn, prefix)
        if row.key not in client.sent
    ]
    if suspects:
        client.read_new()
    return journal_check.unsent_keys([row for row in suspects if row.key not in client.sent])


def _rows(conn: Connection, keys: list[str]) -> Iterator[OrderRow]:
    for first in range(0, len(keys), KEYS_PER_QUERY):
        yield from queries.orders.orders_by_keys(conn, keys[first : first + KEYS_PER_QUERY])


def _not_checked(client: ClientJournal | None, cached: CachedResponses, coverage: Coverage) -> list[str]:
    """Describe the statements that this audit cannot make."""
    omitted = ["that what was deducted has left the warehouse: Valerix sees its own books only"]
    if coverage.is_without_orders:
        omitted.append("any order: there is none")
    if client is None:
        omitted.append("that no acknowledged order is lost: only the client knows; give its journal with --journal")
    elif not client.records:
        omitted.append("that no acknowledged order is lost: the journal has no answer with an order")
    elif None in client.platforms:
        omitted.append("that the journal is this platform's: it does not say which platform it was written for")
    if client is not None and not client.prefixes:
        omitted.append("that every order was sent by this client: its journal claims no keys for itself alone")
    if cached.unavailable_reason:
        omitted.append(f"that cached answers agree with their orders: {cached.unavailable_reason}")
    elif not cached.is_complete:
        omitted.append(f"cached answers beyond the first {len(cached.orders):,}")
    return omitted
