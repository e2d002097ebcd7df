"""The rules that an audit checks, explained."""

from valerix_cli.error_reference.entry import Entry


def _rule(
    code: str, meaning: str, why: str, do: str = "keep the databases as they are; valerix order trace ID"
) -> Entry:
    return Entry("invariant", code, meaning, why, do)


INVARIANTS = (
    _rule(
        "one-order-per-key",
        "A key stands for one order.",
        "broken when a unique constraint is gone, or rows were written by hand",
    ),
    _rule(
        "no-oversell",
        "No item has less than nothing.",
        "broken when the check on the quantity is gone, or stock was written by hand",
        "valerix stock list",
    ),
    _rule(
        "stock-conserved",
        "An item's quantity is the sum of its ledger lines.",
        "broken when stock or the ledger was changed without the other",
        "keep the databases as they are; valerix stock list",
    ),
    _rule(
        "confirmed-means-deducted",
        "A confirmed order has exactly one deduction, of its item and quantity.",
        "broken when ledger lines were lost (a restored backup), doubled, or given back",
        "valerix order trace ID; where lines were lost: valerix audit --repair",
    ),
    _rule(
        "deducted-means-ordered",
        "A deduction has an order, which has not failed.",
        "broken when an order was lost, or an unknown outcome was taken for a failure",
    ),
    _rule(
        "failed-means-refused",
        "A failed order has a refusal, of its item and quantity, for its reason.",
        "broken when a refusal was lost (a restored backup) or changed: inventory would decide again",
    ),
    _rule(
        "refused-means-ordered",
        "A refusal has an order, of its item and quantity, that is not confirmed.",
        "broken when an order was lost or changed, or a refusal was written by hand",
    ),
    _rule(
        "fingerprints-fit",
        "An order's fingerprint is that of its item and quantity.",
        "broken when a row was changed by hand: repeats of its body would be refused, or another body accepted",
    ),
    _rule(
        "ledger-in-order",
        "An item begins with one seed, and each restock has a key.",
        "broken when stock was added by hand",
        "keep the databases as they are; valerix stock list",
    ),
    _rule(
        "one-outcome-per-order",
        "No order is both refused and deducted.",
        "broken when inventory forgot what it had answered",
    ),
    _rule(
        "terminal-stays",
        "A final status is left only by requeueing a dead order, and an order's history has no gap.",
        "broken when a process whose lease had expired wrote to the order, or rows were written by hand",
    ),
    _rule(
        "leases-kept",
        "An order is claimed only while no process holds it, and settled only by the process that holds it.",
        "broken when leases are reckoned by clocks that differ, or a fencing token was ignored",
    ),
    _rule(
        "settled",
        "No order is left unfinished for longer than the settling limit.",
        "not so while no worker runs, or inventory is away; it proves nothing either way",
        "valerix status; valerix queue status",
    ),
    _rule(
        "acknowledged-not-lost",
        "Every response in the journal matches the databases, and every order was sent.",
        "broken when an acknowledged order is gone; checked only with --journal",
    ),
    _rule(
        "cache-agrees",
        "An order that Redis answers a repeat with is as its row says.",
        "broken when rows were deleted or changed by hand, or something unauthorized writes to Redis",
        "keep the databases as they are; redis-cli flushall stops such answers at once",
    ),
)
