"""The audit reports rows that were changed by hand, and nothing in consistent databases."""

import itertools
import threading
import uuid
from datetime import timedelta
from typing import LiteralString

import pytest

from tests.integration.audit.tampered_databases import Books, Step, examples, named
from valerix_cli.audit import Sources, audit
from valerix_cli.audit.sources import take_snapshots
from valerix_cli.errors import UnreachableError

HOUR = timedelta(hours=1)


def test_an_audit_of_consistent_databases_is_clean_and_lists_unchecked_orders(books: Books) -> None:
    for number in range(30):
        books.order(f"confirmed-{number}", "confirmed", quantity=2)
    books.order("failed", "queued", "failed")
    books.order("again", "queued", "dead", "queued", "confirmed")
    found = books.audit()
    assert found.verdict == "clean"
    assert {one.name for one in found.invariants if one.verdict != "held"} == {"acknowledged-not-lost"}
    assert (found.compared.orders, found.compared.deductions) == ({"confirmed": 31, "failed": 1}, 31)
    assert named(found, "confirmed-means-deducted").checked == 31
    assert any("--journal" in omitted for omitted in found.not_checked)


def test_an_audit_of_empty_databases_is_clean_and_marked_without_orders(books: Books) -> None:
    found = books.audit()
    assert (found.verdict, found.without_orders) == ("clean", True)
    assert "any order: there is none" in found.not_checked
    books.order("one", "confirmed")
    assert not books.audit().without_orders


def test_a_deleted_ledger_line_violates_conservation_and_deduction(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.order("two", "confirmed")
    books.inventory("DELETE FROM inventory_transactions WHERE order_id = %s", [order_id])
    assert books.broken() == {"stock-conserved": ["ps5"], "confirmed-means-deducted": [str(order_id)]}


def test_a_changed_quantity_of_an_item_or_an_order_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.inventory("UPDATE inventory SET quantity = quantity + 1")
    assert books.broken() == {"stock-conserved": ["ps5"]}
    books.inventory("UPDATE inventory SET quantity = quantity - 1")
    books.orders("UPDATE orders SET quantity = 2")
    assert books.broken() == {
        "confirmed-means-deducted": [str(order_id)],
        "deducted-means-ordered": [str(order_id)],
        "fingerprints-fit": [str(order_id)],
    }
    assert examples(books.audit(), "confirmed-means-deducted")[0].wrong == (
        "it is confirmed, 2 x ps5, and the ledger has 1 x ps5 for it"
    )


def test_a_copied_order_violates_one_order_per_key(books: Books) -> None:
    books.order("one", "confirmed")
    books.orders("ALTER TABLE orders DROP CONSTRAINT orders_idempotency_key_key, DROP CONSTRAINT orders_order_id_key")
    books.orders(
        """
        INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
        SELECT order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token FROM orders
        """
    )
    assert books.broken()["one-order-per-key"] == ["one"]


def test_a_copied_order_with_a_new_key_has_no_deduction_and_no_history(books: Books) -> None:
    books.order("one", "confirmed")
    books.orders(
        """
        INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
        SELECT gen_random_uuid(), item_id, quantity, status, 'two', fingerprint, attempts, lease_token FROM orders
        """
    )
    assert set(books.broken()) == {"confirmed-means-deducted", "terminal-stays"}


def test_a_deleted_order_leaves_a_deduction_and_a_history_without_an_order(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.orders("DELETE FROM orders")
    assert books.broken() == {"deducted-means-ordered": [str(order_id)], "terminal-stays": [str(order_id)]}


def test_a_failed_order_with_a_deduction_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "failed")
    books.book("ps5", -1, "deduct", order_id)
    assert books.broken() == {"deducted-means-ordered": [str(order_id)], "one-outcome-per-order": [str(order_id)]}


def test_an_order_with_two_deductions_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.inventory("DROP INDEX one_transaction_per_order_and_type")
    books.book("ps5", -1, "deduct", order_id)
    assert books.broken()["confirmed-means-deducted"] == [str(order_id)]


def test_a_release_of_stock_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.book("ps5", 1, "release", order_id)
    assert books.broken() == {"confirmed-means-deducted": [str(order_id)]}


def test_a_negative_quantity_violates_no_oversell(books: Books) -> None:
    books.inventory("ALTER TABLE inventory DROP CONSTRAINT inventory_quantity_check")
    books.order("one", "confirmed", quantity=101)
    assert books.broken() == {"no-oversell": ["ps5"]}


def test_an_old_unfinished_order_is_unsettled(books: Books) -> None:
    order_id = books.order("old", "queued", age=HOUR)
    books.order("young", "queued")
    found = books.audit()
    assert found.verdict == "unsettled"
    assert [example.subject for example in examples(found, "settled")] == [str(order_id)]


def test_a_leased_order_is_unsettled_only_if_its_lease_is_too_long(books: Books) -> None:
    books.order("old", "queued", age=HOUR)
    books.orders("UPDATE orders SET lease_until = now() + interval '10 s', updated_at = now()")
    assert books.audit().verdict == "clean"
    books.orders("UPDATE orders SET lease_until = now() + interval '1 h'")
    assert books.audit().verdict == "unsettled"


def test_the_age_of_a_requeued_order_counts_from_its_requeueing(books: Books) -> None:
    order_id = books.order("old", "queued", "dead", age=HOUR)
    assert books.audit().verdict == "clean"
    books.live(order_id, [Step("dead", "queued", {"cause": "requeued", "token": 3})])
    assert books.audit().verdict == "clean"


def test_a_violation_outweighs_unsettled_orders(books: Books) -> None:
    books.order("old", "queued", age=HOUR)
    books.inventory("UPDATE inventory SET quantity = quantity + 1")
    assert books.audit().verdict == "violated"


def test_a_finding_counts_all_violations_and_shows_ten(books: Books) -> None:
    for number in range(25):
        books.order(f"key-{number}", "confirmed")
    books.inventory("DELETE FROM inventory_transactions WHERE transaction_type = 'deduct'")
    found = named(books.audit(), "confirmed-means-deducted")
    assert (found.broken, len(found.examples)) == (25, 10)


def test_an_unreachable_server_and_a_foreign_database_have_different_errors(books: Books) -> None:
    with pytest.raises(UnreachableError, match="could not be finished"):
        audit(Sources("postgresql://auditor@127.0.0.1:9/order_db", books.sources.inventory))
    with pytest.raises(UnreachableError, match="cannot be audited"):
        audit(Sources(books.sources.inventory, books.sources.inventory))


def test_orders_in_flight_are_no_violations(books: Books) -> None:
    enough = threading.Event()
    books.stock("cheap", 1_000_000)

    def keep_ordering() -> None:
        for number in itertools.count():
            if enough.is_set():
                return
            books.order(f"live-{number}", "confirmed" if number % 2 else "failed", item="cheap")

    ordering = threading.Thread(target=keep_ordering)
    ordering.start()
    try:
        found = [books.audit() for _ in range(8)]
    finally:
        enough.set()
        ordering.join()
    assert [one for audit in found for one in audit.invariants if one.broken] == []
    assert found[0].compared.orders != found[-1].compared.orders


def test_an_audit_cannot_write(books: Books) -> None:
    with pytest.raises(UnreachableError, match="read-only"), take_snapshots(books.sources) as snapshots:
        snapshots.after.execute("DELETE FROM orders")


DAY_AHEAD = b"""
UPDATE orders SET created_at = created_at + interval '1 d', updated_at = updated_at + interval '1 d',
    next_attempt_at = now() + interval '23 h', lease_until = lease_until + interval '1 d'
"""


@pytest.mark.parametrize(
    "spoil",
    [
        DAY_AHEAD,
        b"UPDATE orders SET created_at = now() + interval '1 min'",
        b"UPDATE orders SET updated_at = now() + interval '1 min'",
        b"UPDATE orders SET created_at = now() - interval '1 h', next_attempt_at = now() + interval '23 h'",
        b"UPDATE orders SET created_at = now() - interval '1 h', next_attempt_at = 'infinity'",
        b"UPDATE orders SET created_at = now() - interval '1 h', next_attempt_at = NULL",
        b"UPDATE orders SET created_at = now() - interval '1 h', lease_until = now() + interval '1 d'",
    ],
)
@pytest.mark.parametrize("status", ["pending", "queued"])
def test_an_unfinished_order_postponed_by_a_wrong_clock_is_unsettled(books: Books, spoil: bytes, status: str) -> None:
    order_id = books.order("put-off", *([] if status == "pending" else [status]))
    books.order("settled", "confirmed")
    books.orders(spoil + b" WHERE status = '%s'" % status.encode())
    found = books.audit()
    assert found.verdict == "unsettled"
    (example,) = examples(found, "settled")
    assert example.subject == str(order_id)
    assert "for -" not in example.wrong


def test_a_failed_order_without_a_refusal_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "failed")
    books.order("two", "failed")
    books.inventory("DELETE FROM refusals WHERE order_id = %s", [order_id])
    assert books.broken() == {"failed-means-refused": [str(order_id)]}


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE refusals SET quantity = quantity + 1",
        "UPDATE refusals SET item_id = 'switch'",
        "UPDATE refusals SET order_id = gen_random_uuid()",
    ],
)
def test_a_refusal_for_another_body_is_a_violation(books: Books, spoil: LiteralString) -> None:
    order_id = books.order("one", "failed")
    books.inventory(spoil)
    broken = books.broken()
    assert broken["failed-means-refused"] == [str(order_id)]
    assert broken.keys() == {"failed-means-refused", "refused-means-ordered"}


def test_a_refusal_for_another_reason_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "failed")
    books.inventory("UPDATE refusals SET reason = 'unknown-item'")
    assert books.broken() == {"failed-means-refused": [str(order_id)]}


def test_a_refusal_without_an_order_or_of_a_confirmed_order_is_a_violation(books: Books) -> None:
    confirmed, unknown = books.order("one", "confirmed"), uuid.uuid4()
    for order_id in (confirmed, unknown):
        books.inventory(
            "INSERT INTO refusals (order_id, item_id, quantity, reason) VALUES (%s, 'ps5', 1, 'insufficient-stock')",
            [order_id],
        )
    assert set(books.broken()["refused-means-ordered"]) == {str(confirmed), str(unknown)}


@pytest.mark.parametrize("path", [(), ("queued",), ("confirmed",), ("failed",)])
@pytest.mark.parametrize("value", ["", "\\x00", "\\x" + "ab" * 32])
def test_an_overwritten_fingerprint_is_a_violation(books: Books, path: tuple[str, ...], value: str) -> None:
    order_id = books.order("one", *path)
    books.orders("UPDATE orders SET fingerprint = %s::bytea", [value])
    assert books.broken() == {"fingerprints-fit": [str(order_id)]}


def test_a_restock_without_a_key_is_a_violation(books: Books) -> None:
    books.book("ps5", 5, "restock", key="more")
    assert books.broken() == {}
    books.book("ps5", 5, "restock")
    assert books.broken() == {"ledger-in-order": ["ps5"]}


def test_an_item_with_two_seeds_is_a_violation(books: Books) -> None:
    books.book("ps5", 5, "seed")
    assert books.broken() == {"ledger-in-order": ["ps5"]}


@pytest.mark.parametrize("item", ["a\tb", "a\nb", "\t", "\n", "', '"])
def test_an_item_name_with_separators_is_reported(books: Books, item: str) -> None:
    order_id = books.order("one", "confirmed")
    failed = books.order("two", "failed")
    books.orders("UPDATE orders SET item_id = %s", [item])
    broken = books.broken()
    assert str(order_id) in broken["fingerprints-fit"]
    assert str(failed) in broken["fingerprints-fit"]
    assert str(order_id) in broken["confirmed-means-deducted"]
