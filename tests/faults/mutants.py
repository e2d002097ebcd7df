"""Mutants of Valerix, with one bug each. Production code contains no trace of them."""

import os
from typing import LiteralString

from tests.clocks import LIBRARY
from tests.faults.mutation import MUTANT, Edit, Mutant, apply

DROP_UNIQUE_KEY: tuple[LiteralString, ...] = (
    "ALTER TABLE orders DROP CONSTRAINT orders_idempotency_key_key",
    "ALTER TABLE orders DROP CONSTRAINT orders_order_id_key",  # ids are derived: it would mask the first
)


def _clock_off_by(interval: str) -> tuple[Edit, ...]:
    """Return edits that compute leases by the clock of the process, which is off by that much."""
    process_clock = f"(now() {interval})"
    return (
        Edit("services.order.store:insert_new", {"now() + %(lease)s": f"{process_clock} + %(lease)s"}),
        Edit("services.order.store:by_keys", {"lease_until > now()": f"lease_until > {process_clock}"}),
        Edit(
            "services.order.store:claim_due",
            {
                "next_attempt_at <= now()": f"next_attempt_at <= {process_clock}",
                "lease_until <= now()": f"lease_until <= {process_clock}",
                "now() + %(lease)s": f"{process_clock} + %(lease)s",
            },
        ),
    )


FORGET_DEDUCTIONS = Edit(
    "services.inventory.store:lock_items_and_load_outcomes",
    # It would otherwise find the first deduction with the item locked, and the index would have no effect.
    {"AND transaction_type = 'deduct'": "AND false"},
)

DATES_BELIEVED = Edit("services.order.unfinished:correct_dates", {"LIMIT 1000": "LIMIT 0"})
MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "unique-key-dropped",
        "Nothing in the database keeps two orders from having one key",
        breaks="one-order-per-key",
        order_statements=DROP_UNIQUE_KEY,
    ),
    Mutant(
        "ledger-uniqueness-dropped",
        "Inventory deducts whatever it is asked to, as often as it is asked",
        breaks="confirmed-means-deducted",
        edits=(FORGET_DEDUCTIONS,),
        inventory_statements=("DROP INDEX one_transaction_per_order_and_type",),
    ),
    Mutant(
        "stock-check-dropped",
        "Nobody asks whether the stock is enough",
        breaks="no-oversell",
        edits=(Edit("services.inventory.domain:_deduct", {"if available < line.quantity:": "if False:"}),),
        inventory_statements=("ALTER TABLE inventory DROP CONSTRAINT inventory_quantity_check",),
    ),
    Mutant(
        "ledger-upserted",
        "Inventory writes a repeated deduction over the first one, and takes the stock for it once more",
        breaks="stock-conserved",
        edits=(
            FORGET_DEDUCTIONS,
            Edit(
                "services.inventory.store:write_outcomes",
                {
                    "AS line (item_id text, order_id uuid, quantity bigint)\n": (
                        "AS line (item_id text, order_id uuid, quantity bigint)"
                        " ON CONFLICT (order_id, transaction_type) WHERE order_id IS NOT NULL"
                        " DO UPDATE SET quantity_change = excluded.quantity_change "
                    )
                },
            ),
        ),
    ),
    Mutant(
        "refusals-forgotten",
        "Inventory decides anew about an order that it has refused",
        breaks="one-outcome-per-order",
        edits=(
            Edit(
                "services.inventory.store:lock_items_and_load_outcomes",
                {"FROM refusals\n            WHERE order_id": "FROM refusals\n            WHERE false AND order_id"},
            ),
        ),
    ),
    Mutant(
        "timeout-taken-for-failure",
        "No answer from inventory is taken for a no",
        breaks="deducted-means-ordered",
        edits=(
            Edit(
                "services.order.domain:decide",
                {'_settlement(claim, "queued", cause, delay=delay)': '_settlement(claim, "failed", cause)'},
            ),
        ),
    ),
    Mutant(
        "cache-trusted",
        "Redis decides whether a key is new (SET NX), and what Redis has forgotten never was",
        breaks="one-order-per-key",
        edits=(
            Edit(
                "services.order.processing:Processing.place",
                {
                    "    match await in_time(self._accept_or_refuse(new_order)):": """\
    mark = f"taken:{new_order.key}"
    if not await self._response_cache._redis(lambda redis: redis.set(mark, b"", nx=True), True):
        raise RequestInFlight("Try again in a moment with the same key", retry_after=1)
    match await in_time(self._accept_or_refuse(new_order)):"""
                },
            ),
        ),
        order_statements=DROP_UNIQUE_KEY,
    ),
    Mutant(
        "body-not-compared",
        "A key that is known is answered with its order, whatever is asked for under it",
        breaks="acknowledged-not-lost",
        edits=(
            Edit("services.order.response_cache:_matches", {"cached.fingerprint == fingerprint and ": ""}),
            Edit("services.order.domain:admit", {"if stored.fingerprint != new_order.fingerprint:": "if False:"}),
        ),
    ),
    Mutant(
        "refusals-not-stored",
        "Inventory says no and does not write it down",
        breaks="failed-means-refused",
        edits=(
            Edit(
                "services.inventory.store:write_outcomes",
                {
                    "reason text, available bigint)": "reason text, available bigint) WHERE false",
                },
            ),
        ),
    ),
    Mutant(
        "refusals-of-something-else",
        "Inventory writes down another quantity than it has refused",
        breaks="refused-means-ordered",
        edits=(
            Edit(
                "services.inventory.store:write_outcomes",
                {"SELECT order_id, item_id, quantity, reason": "SELECT order_id, item_id, quantity + 1, reason"},
            ),
        ),
    ),
    Mutant(
        "fingerprint-of-half-a-body",
        "Two bodies that differ in their quantity only count as the same",
        breaks="fingerprints-fit",
        edits=(Edit("services.order.domain:fingerprint", {"[item_id, quantity]": "[item_id]"}),),
    ),
    Mutant(
        "restocks-without-a-key",
        "A restock is not remembered under its key, so that a repeat adds again",
        breaks="ledger-in-order",
        edits=(
            Edit(
                "services.inventory.store:restock",
                {"'restock', %s)": "'restock', CASE WHEN %s::text = '' THEN '' END)"},
            ),
        ),
    ),
    *(
        [
            Mutant(
                "clock-believed",
                "What was written while the database's clock was ahead waits until it gets there again",
                breaks="settled",
                edits=(DATES_BELIEVED,),
            )
        ]
        if LIBRARY
        else []
    ),
    Mutant(
        "cache-believed",
        "Whatever stands in Redis under a key is answered, whoever wrote it",
        breaks="acknowledged-not-lost",
        edits=(
            Edit(
                "services.order.response_cache:_decode_verified",
                {"if seal.is_signed(signed.signature, signed.fingerprint, bytes(signed.order)):": "if signed:"},
            ),
        ),
    ),
    Mutant(
        "acknowledge-before-commit",
        "An order is acknowledged at once and stored a moment later (write-behind)",
        breaks="acknowledged-not-lost",
        edits=(
            Edit(
                "services.order.processing:Processing.place",
                {
                    "    match await in_time(self._accept_or_refuse(new_order)):": """\
    from tests.faults.mutant_functions import acknowledge_early
    if (early := await acknowledge_early(self, new_order)) is not None:
        return early
    match await in_time(self._accept_or_refuse(new_order)):"""
                },
            ),
        ),
    ),
    Mutant(
        "sweeper-off",
        "Wake-ups are taken for the queue, so nobody looks for orders that have none",
        breaks="settled",
        edits=(
            Edit(
                "services.order.usecases:claim",
                {
                    "return await store.claim_due(conn, lease, by, limit, among)": (
                        "return await store.claim_due(conn, lease, by, limit, among) if among else []"
                    )
                },
            ),
        ),
    ),
    Mutant(
        "fencing-token-ignored",
        "Whoever comes back with an outcome writes it down, whatever happened to the order meanwhile",
        breaks="terminal-stays",
        edits=(
            Edit(
                "services.order.store:settle",
                {
                    " AND o.lease_token = w.token": "",
                    "AND o.status NOT IN ('confirmed', 'failed', 'dead') AND o.lease_until IS NOT NULL": "",
                },
            ),
        ),
    ),
    Mutant(
        "lease-by-process-clock-ahead",
        "Leases go by each process's own clock, two order services' are an hour ahead, and nobody corrects it",
        breaks="settled",
        edits=(
            Edit(
                "services.order.store:insert_new",
                {
                    "now() + %(lease)s": (
                        "now() + CASE WHEN %(by)s::text IN ('order-1', 'order-4') THEN interval '1 hour'"
                        " ELSE interval '0' END + %(lease)s"
                    )
                },
            ),
            DATES_BELIEVED,
        ),
    ),
    Mutant(
        "lease-by-process-clock-behind",
        "Leases are reckoned by each process's own clock, and two order services' are an hour behind",
        breaks="leases-kept",
        edits=_clock_off_by("- interval '1 hour'"),
        only=("order-1", "order-4"),
    ),
    Mutant(
        "fresh-order-id-on-retry",
        "Each further attempt is sent to inventory under an id of its own",
        breaks="deducted-means-ordered",
        edits=(
            Edit(
                "services.order.inventory_client:InventoryClient.deduct",
                {
                    "    return await (await": """\
    if claim.attempt > 1:
        claim = msgspec.structs.replace(claim, order_id=uuid.uuid5(claim.order_id, str(claim.attempt)))
    return await (await"""
                },
            ),
        ),
    ),
    Mutant(
        "worker-that-compensates",
        "A worker that does not hear whether the stock was taken gives it back before it tries again",
        breaks="confirmed-means-deducted",
        edits=(
            Edit(
                "services.order.processing:Processing._settle_outcome",
                {
                    "    settlement = decide(": """\
    if isinstance(outcome, Unknown) and claim.attempt > 1:
        from tests.faults.mutant_functions import give_back
        await give_back(claim)
    settlement = decide("""
                },
            ),
        ),
    ),
)

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def switch_on() -> None:
    """Make this process the mutant that its environment names. It must not be a service yet."""
    for edit in BY_NAME[os.environ[MUTANT]].edits:
        apply(edit)
