"""The SQL of unfinished orders: the queue's size, and the correction of impossible times."""

import uuid
from datetime import timedelta

import msgspec

from services.common.postgres import Connection
from services.order.domain import CLOCK_TOLERANCE, MAX_LEASE, MAX_RETRY_DELAY

_LIMITS = {
    "tolerance": timedelta(seconds=CLOCK_TOLERANCE),
    "delay": timedelta(seconds=MAX_RETRY_DELAY + CLOCK_TOLERANCE),
    "lease": timedelta(seconds=MAX_LEASE + CLOCK_TOLERANCE),
}
"""How far ahead of now the times of an unfinished order may be: time stamps, next attempts, leases."""


class QueueStats(msgspec.Struct, frozen=True):
    """The number of queued orders: unfinished and without a lease. `oldest_age` is in seconds and not negative.

    `misdated` counts unfinished orders with an impossible time: see `correct_dates`.
    """

    depth: int
    oldest_age: float | None
    dead: int
    misdated: int = 0


async def queue_stats(conn: Connection) -> QueueStats:
    """Count queued, dead and misdated orders."""
    cursor = await conn.execute(
        """
        SELECT count(*) FILTER (WHERE waits), extract(epoch FROM now() - min(created_at) FILTER (WHERE waits))::float8,
               (SELECT count(*) FROM orders WHERE status = 'dead'), count(*) FILTER (WHERE is_misdated)
        FROM (
            SELECT created_at, status = 'queued' OR lease_until <= now() AS waits,
                   greatest(created_at, updated_at) > now() + %(tolerance)s OR next_attempt_at IS NULL
                   OR next_attempt_at > now() + CASE WHEN lease_until IS NULL THEN %(delay)s ELSE %(lease)s END
                   OR lease_until > now() + %(lease)s AS is_misdated
            FROM orders WHERE status IN ('pending', 'queued')
        ) AS unfinished
        """,
        _LIMITS,
    )
    ((depth, age, dead, misdated),) = await cursor.fetchall()
    return QueueStats(depth, None if age is None else max(0.0, age), dead, misdated)


async def correct_dates(conn: Connection, by: str, among: list[uuid.UUID] | None = None) -> list[uuid.UUID]:
    """Correct the impossible times of up to 1,000 unfinished orders. Returns their ids.

    A row dated later than now was written before the clock was set back. Its times are moved back by that difference,
    as if it had been written now: a lease keeps its remaining time, and a queued order waits no longer than intended. A
    time beyond the limit of every setting becomes now. The token does not change.
    """
    cursor = await conn.execute(
        """
        WITH misdated AS (
            SELECT id, CASE WHEN isfinite(updated_at) THEN greatest(updated_at - now(), interval '0')
                            ELSE interval '0' END AS ahead
            FROM orders
            WHERE status IN ('pending', 'queued')
              AND (greatest(created_at, updated_at) > now() + %(tolerance)s OR next_attempt_at IS NULL
                   OR next_attempt_at > now() + CASE WHEN lease_until IS NULL THEN %(delay)s ELSE %(lease)s END
                   OR lease_until > now() + %(lease)s)
              AND (%(among)s::uuid[] IS NULL OR order_id = ANY(%(among)s::uuid[]))
            LIMIT 1000
            FOR UPDATE SKIP LOCKED
        ), corrected AS (
            UPDATE orders o
            SET created_at = least(created_at, now()), updated_at = least(updated_at, now()),
                lease_until = CASE WHEN lease_until - ahead <= now() + %(lease)s THEN lease_until - ahead
                                   WHEN lease_until IS NOT NULL THEN now() END,
                next_attempt_at = CASE
                    WHEN next_attempt_at - ahead
                         <= now() + CASE WHEN lease_until IS NULL THEN %(delay)s ELSE %(lease)s END
                        THEN next_attempt_at - ahead
                    ELSE now()
                END
            FROM misdated WHERE o.id = misdated.id
            RETURNING o.order_id, o.status, o.lease_token, o.lease_until, ahead
        ), logged AS (
            INSERT INTO order_events (order_id, "from", "to", detail)
            SELECT order_id, status, status,
                   jsonb_strip_nulls(jsonb_build_object(
                       'by', %(by)s::text, 'cause', 'clock-set-back', 'token', lease_token,
                       'ahead_seconds', extract(epoch FROM ahead)::float8,
                       'lease_seconds', extract(epoch FROM lease_until - now())::float8))
            FROM corrected WHERE ahead > interval '0'
        )
        SELECT order_id FROM corrected
        """,
        {"by": by, "among": among, **_LIMITS},
    )
    return [row[0] for row in await cursor.fetchall()]
