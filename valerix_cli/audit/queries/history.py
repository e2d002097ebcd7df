"""Queries on the history of each order: its transitions and the claims they were made under."""

from valerix_cli.audit.model import Finding
from valerix_cli.audit.queries.databases import Connection, find_examples


def broken_histories(conn: Connection) -> Finding:
    """Find transitions that leave a final status, do not continue the one before, or do not end in the order's status.

    The ids of an order's transitions increase in time, because they are assigned while its row is locked. OFFSET 0
    keeps the details out of the sort, which would take twice as long with them.
    """
    return find_examples(
        conn,
        """
        SELECT coalesce(step.order_id, o.order_id)::text,
               CASE
                   WHEN step.order_id IS NULL THEN format('it is %%s, and has no history', status)
                   WHEN "from" IS DISTINCT FROM before
                       THEN format('a transition at %%s leads from %%s to %%s, and the one before ended in %%s', at,
                                   coalesce("from", 'nothing'), "to", coalesce(before, 'nothing'))
                   WHEN "from" IN ('confirmed', 'failed', 'dead')
                       THEN format('it left its final status %%s for %%s at %%s', "from", "to", at)
                   WHEN o.order_id IS NULL THEN format('its history ends in %%s, and there is no such order', "to")
                   ELSE format('its history ends in %%s, and it is %%s', "to", status)
               END,
               count(*) OVER ()
        FROM (
            SELECT order_id, at, "from", "to", cause, lag("to") OVER life AS before,
                   lead("to") OVER life IS NULL AS is_last
            FROM (
                SELECT order_id, id, at, "from", "to", CASE WHEN "from" = 'dead' THEN detail->>'cause' END AS cause
                FROM order_events OFFSET 0
            ) AS event
            WINDOW life AS (PARTITION BY order_id ORDER BY id)
        ) AS step
        FULL JOIN orders o ON o.order_id = step.order_id AND step.is_last
        WHERE step.order_id IS NULL
           OR "from" IS DISTINCT FROM before
           OR "from" IN ('confirmed', 'failed')
           OR ("from" = 'dead' AND NOT ("to" = 'queued' AND cause = 'requeued'))
           OR (is_last AND "to" IS DISTINCT FROM status)
        ORDER BY 1 LIMIT %(shown)s
        """,
        "SELECT count(*) FROM order_events",
    )


def wrong_reasons(conn: Connection) -> Finding:
    """Find orders whose reason differs from the cause of their last transition.

    The reasons of failed orders are compared with their refusals.
    """
    return find_examples(
        conn,
        """
        SELECT order_id::text, format('it is %%s because of %%s, and its history says %%s', status,
                                      coalesce(reason, 'nothing'), coalesce(cause, 'nothing')), count(*) OVER ()
        FROM (
            SELECT order_id, status, reason,
                   (SELECT detail->>'cause' FROM order_events e
                    WHERE e.order_id = o.order_id AND NOT detail ? 'lease_seconds'
                      AND detail->>'cause' IS DISTINCT FROM 'clock-set-back'
                    ORDER BY id DESC LIMIT 1) AS cause
            FROM orders o WHERE status IN ('pending', 'queued', 'dead')
            UNION ALL
            SELECT order_id, status, reason, NULL FROM orders WHERE status = 'confirmed' AND reason IS NOT NULL
        ) AS reported
        WHERE reason IS DISTINCT FROM cause ORDER BY order_id LIMIT %(shown)s
        """,
    )


def broken_leases(conn: Connection) -> Finding:
    """Find claims made while the previous lease was in force, and settlements without a claim in force.

    Accepting or claiming an order records the token and the length of the lease. A settlement releases it under the
    token in force, a requeueing under a new one. A process that detects that the clock was set back records, under the
    token in force, the rest of the lease; the history must show that the clock was set back. Orders that were accepted
    and settled without ever being claimed are omitted: they cannot violate this rule.
    """
    return find_examples(
        conn,
        """
        WITH step AS (
            SELECT *, lag(token) OVER life AS held, lag(at + make_interval(secs => lease)) OVER life AS held_until,
                   lag(at) OVER life AS before
            FROM (SELECT DISTINCT order_id FROM order_events WHERE "from" = "to") AS claimed
            CROSS JOIN LATERAL (
                SELECT id, at, "from", "to", detail->>'by' AS by, (detail->>'token')::bigint AS token,
                       (detail->>'lease_seconds')::float8 AS lease,
                       "from" = "to" AND detail->>'cause' = 'clock-set-back' AS is_correction
                FROM order_events e WHERE e.order_id = claimed.order_id OFFSET 0
            ) AS event
            WINDOW life AS (PARTITION BY order_id ORDER BY id)
        )
        SELECT order_id::text,
               CASE
                   WHEN is_correction
                       THEN format('%%s corrected its times at %%s under token %%s, after token %%s at %%s', by, at,
                                   token, held, before)
                   WHEN lease IS NOT NULL AND token = held + 1
                       THEN format('%%s took it at %%s under token %%s, and it was leased under token %%s until %%s',
                                   by, at, token, held, held_until)
                   ELSE format('%%s moved it from %%s to %%s at %%s under token %%s, after token %%s%%s', by, "from",
                               "to", at, token, held, CASE WHEN held_until IS NULL THEN ', without a lease' END)
               END,
               count(*) OVER ()
        FROM step
        WHERE "from" IS NOT NULL
          AND CASE
                  WHEN is_correction
                      THEN token IS DISTINCT FROM held OR at >= before OR (lease IS NOT NULL AND held_until IS NULL)
                  WHEN lease IS NOT NULL THEN token IS DISTINCT FROM held + 1 OR at < held_until
                  WHEN "from" = 'dead' THEN token IS DISTINCT FROM held + 1
                  ELSE token IS DISTINCT FROM held OR held_until IS NULL
              END
        ORDER BY order_id LIMIT %(shown)s
        """,
        """SELECT count(*) FROM order_events WHERE "from" = "to" AND detail ? 'lease_seconds'""",
    )


def wrong_tokens(conn: Connection) -> Finding:
    """Find unfinished orders whose fencing token is not the last one of their history."""
    return find_examples(
        conn,
        """
        SELECT order_id::text, format('its token is %%s, and its history ends with %%s', lease_token,
                                      coalesce(token, 'none')), count(*) OVER ()
        FROM (
            SELECT order_id, lease_token,
                   (SELECT detail->>'token' FROM order_events e WHERE e.order_id = o.order_id
                    ORDER BY id DESC LIMIT 1) AS token
            FROM orders o WHERE status IN ('pending', 'queued', 'dead')
        ) AS held
        WHERE lease_token::text IS DISTINCT FROM token ORDER BY order_id LIMIT %(shown)s
        """,
    )
