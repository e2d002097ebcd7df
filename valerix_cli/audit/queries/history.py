"""What the history of each order is asked: its steps, and under which claims they were made."""

from valerix_cli.audit.model import Found
from valerix_cli.audit.queries.databases import Connection, examples


def broken_histories(conn: Connection) -> Found:
    """Transitions that leave a final status, do not begin where the last one ended, or do not end where the order is.

    Ids of transitions of one order follow each other in time: they are given while its row is locked. OFFSET 0 keeps
    the details out of what is sorted, which takes twice as long with them.
    """
    return examples(
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


def other_reasons(conn: Connection) -> Found:
    """Orders whose reason is not what their last step gave as its cause. Those of failed orders are held elsewhere."""
    return examples(
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
        ) AS told
        WHERE reason IS DISTINCT FROM cause ORDER BY order_id LIMIT %(shown)s
        """,
    )


def broken_leases(conn: Connection) -> Found:
    """Claims made while the lease before was in force, and settlements by somebody whose claim was not.

    Who takes an order in hand, by accepting or claiming it, writes down the token and the length of the lease; a
    settlement gives it out of hand under the token in force, a requeueing under a new one. Whoever finds that the clock
    was set back writes down under the token in force what is left of the lease; the history must show that it was.
    Orders that were accepted, settled and never claimed are left out: there, that is all that can have happened.
    """
    return examples(
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
                               "to", at, token, held, CASE WHEN held_until IS NULL THEN ', which nobody held' END)
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


def other_tokens(conn: Connection) -> Found:
    """Unfinished orders whose fencing token is not the one that their history ends with."""
    return examples(
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
