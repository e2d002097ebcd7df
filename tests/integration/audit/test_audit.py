"""What was spoiled by hand is found and named, and what is in order is not."""

import itertools
import threading
import uuid
from datetime import timedelta
from typing import LiteralString

import pytest

from tests.integration.audit.books import LEASE, Books, Step, claim, examples, named
from valerix_cli.audit import Sources, audit
from valerix_cli.audit.sources import snapshots
from valerix_cli.errors import UnreachableError

HOUR = timedelta(hours=1)


def test_honest_books_are_clean_and_it_says_what_was_compared_and_what_was_not(books: Books) -> None:
    for number in range(30):
        books.order(f"confirmed-{number}", "confirmed", quantity=2)
    books.order("failed", "queued", "failed")
    books.order("again", "queued", "dead", "queued", "confirmed")
    found = books.audit()
    assert found.verdict == "clean"
    assert {one.name for one in found.invariants if one.verdict != "held"} == {"acknowledged-not-lost"}
    assert (found.compared.orders, found.compared.deductions) == ({"confirmed": 31, "failed": 1}, 31)
    assert named(found, "confirmed-means-deducted").checked == 31
    assert any("--journal" in left for left in found.not_checked)


def test_empty_books_are_clean_and_said_to_be_without_orders(books: Books) -> None:
    found = books.audit()
    assert (found.verdict, found.without_orders) == ("clean", True)
    assert "any order: there is none" in found.not_checked
    books.order("one", "confirmed")
    assert not books.audit().without_orders


def test_a_deleted_ledger_line_is_named(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.order("two", "confirmed")
    books.inventory("DELETE FROM inventory_transactions WHERE order_id = %s", [order_id])
    assert books.broken() == {"stock-conserved": ["ps5"], "confirmed-means-deducted": [str(order_id)]}


def test_a_changed_quantity_is_named_wherever_it_is(books: Books) -> None:
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


def test_a_copied_order_is_named(books: Books) -> None:
    books.order("one", "confirmed")
    books.orders("ALTER TABLE orders DROP CONSTRAINT orders_idempotency_key_key, DROP CONSTRAINT orders_order_id_key")
    books.orders(
        """
        INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
        SELECT order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token FROM orders
        """
    )
    assert books.broken()["one-order-per-key"] == ["one"]


def test_a_copy_under_a_new_key_has_no_deduction_and_no_history(books: Books) -> None:
    books.order("one", "confirmed")
    books.orders(
        """
        INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
        SELECT gen_random_uuid(), item_id, quantity, status, 'two', fingerprint, attempts, lease_token FROM orders
        """
    )
    assert set(books.broken()) == {"confirmed-means-deducted", "terminal-stays"}


def test_a_dropped_order_leaves_its_deduction_and_its_history(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.orders("DELETE FROM orders")
    assert books.broken() == {"deducted-means-ordered": [str(order_id)], "terminal-stays": [str(order_id)]}


def test_a_failed_order_that_took_stock_is_named(books: Books) -> None:
    order_id = books.order("one", "failed")
    books.book("ps5", -1, "deduct", order_id)
    assert books.broken() == {"deducted-means-ordered": [str(order_id)], "one-outcome-per-order": [str(order_id)]}


def test_an_order_deducted_twice_is_named(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.inventory("DROP INDEX one_transaction_per_order_and_type")
    books.book("ps5", -1, "deduct", order_id)
    assert books.broken()["confirmed-means-deducted"] == [str(order_id)]


def test_stock_given_back_is_named(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.book("ps5", 1, "release", order_id)
    assert books.broken() == {"confirmed-means-deducted": [str(order_id)]}


def test_an_item_below_nothing_is_named(books: Books) -> None:
    books.inventory("ALTER TABLE inventory DROP CONSTRAINT inventory_quantity_check")
    books.order("one", "confirmed", quantity=101)
    assert books.broken() == {"no-oversell": ["ps5"]}


@pytest.mark.parametrize(
    "path", [("confirmed", "queued", "confirmed"), ("failed", "queued", "failed"), ("confirmed", "failed", "confirmed")]
)
def test_a_final_status_that_was_left_is_named(books: Books, path: tuple[str, ...]) -> None:
    order_id = books.order("one", *path)
    assert set(books.broken()["terminal-stays"]) == {str(order_id)}


def test_a_status_that_was_changed_without_a_transition_is_named(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.orders("UPDATE orders SET status = 'queued'")
    assert books.broken()["terminal-stays"] == [str(order_id)]


def test_a_transition_that_does_not_begin_where_the_one_before_ended_is_named(books: Books) -> None:
    order_id = books.order("one", "queued", "confirmed")
    books.event(order_id, Step("pending", "confirmed", {}))
    assert books.broken()["terminal-stays"] == [str(order_id)]


def test_a_claim_that_cut_the_lease_before_it_short_is_named(books: Books) -> None:
    taken_early, in_time = books.order("one", age=LEASE / 2), books.order("two", age=LEASE)
    for order_id in (taken_early, in_time):
        books.live(order_id, [claim("pending", 2)])
    assert books.broken() == {"leases-kept": [str(taken_early)]}
    assert "under token 2, and it was leased under token 1 until" in examples(books.audit(), "leases-kept")[0].wrong


def test_a_claim_of_what_was_queued_need_not_wait_and_may_not_be_cut_short_either(books: Books) -> None:
    order_id = books.order("one", "queued")
    books.live(order_id, [claim("queued", 2)])
    assert books.broken() == {}
    books.live(order_id, [claim("queued", 3)])
    assert books.broken() == {"leases-kept": [str(order_id)]}


@pytest.mark.parametrize("token", [1, 2, 4, None], ids=["before-last", "last", "not-yet-given", "none"])
def test_a_settlement_by_somebody_who_does_not_have_the_order_is_named(books: Books, token: int | None) -> None:
    order_id = books.order("one", "queued", "queued", age=2 * LEASE)
    if token != 2:
        books.live(order_id, [claim("queued", 3)])
    books.live(order_id, [Step("queued", "dead", {"token": token})])
    broken = books.broken()
    assert broken.keys() == {"leases-kept"}
    assert set(broken["leases-kept"]) == {str(order_id)}


def test_an_old_unfinished_order_is_unsettled_and_not_a_violation(books: Books) -> None:
    order_id = books.order("old", "queued", age=HOUR)
    books.order("young", "queued")
    found = books.audit()
    assert found.verdict == "unsettled"
    assert [example.subject for example in examples(found, "settled")] == [str(order_id)]


def test_an_order_in_somebodys_hands_is_not_unsettled_unless_it_is_leased_for_ever(books: Books) -> None:
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


def test_a_violation_outweighs_what_is_unsettled(books: Books) -> None:
    books.order("old", "queued", age=HOUR)
    books.inventory("UPDATE inventory SET quantity = quantity + 1")
    assert books.audit().verdict == "violated"


def test_of_many_that_are_wrong_all_are_counted_and_ten_shown(books: Books) -> None:
    for number in range(25):
        books.order(f"key-{number}", "confirmed")
    books.inventory("DELETE FROM inventory_transactions WHERE transaction_type = 'deduct'")
    found = named(books.audit(), "confirmed-means-deducted")
    assert (found.broken, len(found.examples)) == (25, 10)


def test_a_server_that_is_not_there_and_a_database_that_is_not_ours_are_told_apart(books: Books) -> None:
    with pytest.raises(UnreachableError, match="could not be finished"):
        audit(Sources("postgresql://auditor@127.0.0.1:9/order_db", books.sources.inventory))
    with pytest.raises(UnreachableError, match="cannot be audited"):
        audit(Sources(books.sources.inventory, books.sources.inventory))


def test_orders_in_flight_are_never_taken_for_violations(books: Books) -> None:
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


def test_an_audit_can_only_read(books: Books) -> None:
    with pytest.raises(UnreachableError, match="read-only"), snapshots(books.sources) as moments:
        moments.after.execute("DELETE FROM orders")


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
def test_an_unfinished_order_that_a_wrong_clock_put_off_is_unsettled(books: Books, spoil: bytes, status: str) -> None:
    order_id = books.order("put-off", *([] if status == "pending" else [status]))
    books.order("settled", "confirmed")
    books.orders(spoil + b" WHERE status = '%s'" % status.encode())
    found = books.audit()
    assert found.verdict == "unsettled"
    (example,) = examples(found, "settled")
    assert example.subject == str(order_id)
    assert "for -" not in example.wrong


def test_a_requeueing_later_than_now_does_not_excuse_an_order_for_as_long(books: Books) -> None:
    order_id = books.order("old", "queued", "dead", age=HOUR)
    books.live(order_id, [Step("dead", "queued", {"cause": "requeued", "token": 3})])
    books.orders("UPDATE order_events SET at = at + interval '1 d' WHERE \"from\" = 'dead'")
    assert books.audit().verdict == "unsettled"


def correction(token: int, lease: float | None = None) -> Step:
    detail: dict[str, object] = {"cause": "clock-set-back", "token": token, "by": "order-1"}
    return Step("queued", "queued", detail if lease is None else {**detail, "lease_seconds": lease})


def test_a_lease_that_was_corrected_when_the_clock_was_set_back_is_kept_as_corrected(books: Books) -> None:
    order_id = books.order("one", "queued", age=-HOUR)
    books.live(order_id, [claim("queued", 2)], age=-HOUR)
    books.live(order_id, [correction(2, 1.0)], age=timedelta(seconds=1))
    books.live(order_id, [claim("queued", 3), Step("queued", "confirmed", {"token": 3})])
    books.book("ps5", -1, "deduct", order_id)
    assert books.broken() == {}


@pytest.mark.parametrize(
    ("age", "step"),
    [(timedelta(), correction(2, 1.0)), (-HOUR, correction(3, 1.0)), (-HOUR, correction(1, 1.0))],
    ids=["clock-was-never-set-back", "token-not-in-force", "token-of-before"],
)
def test_a_correction_without_a_reason_is_named(books: Books, age: timedelta, step: Step) -> None:
    order_id = books.order("one", "queued", age=age)
    books.live(order_id, [claim("queued", 2)], age=age)
    books.live(order_id, [step])
    assert str(order_id) in books.broken()["leases-kept"]


def test_a_claim_before_a_corrected_lease_ended_is_named(books: Books) -> None:
    order_id = books.order("one", "queued", age=-HOUR)
    books.live(order_id, [claim("queued", 2)], age=-HOUR)
    books.live(order_id, [correction(2, 30.0), claim("queued", 3)])
    assert str(order_id) in books.broken()["leases-kept"]


def test_a_deleted_refusal_of_a_failed_order_is_named(books: Books) -> None:
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
def test_a_refusal_of_something_else_than_its_order_is_named(books: Books, spoil: LiteralString) -> None:
    order_id = books.order("one", "failed")
    books.inventory(spoil)
    broken = books.broken()
    assert broken["failed-means-refused"] == [str(order_id)]
    assert broken.keys() == {"failed-means-refused", "refused-means-ordered"}


def test_a_refusal_for_another_reason_is_named(books: Books) -> None:
    order_id = books.order("one", "failed")
    books.inventory("UPDATE refusals SET reason = 'unknown-item'")
    assert books.broken() == {"failed-means-refused": [str(order_id)]}


def test_a_refusal_without_an_order_and_one_of_a_confirmed_order_are_named(books: Books) -> None:
    confirmed, nobody = books.order("one", "confirmed"), uuid.uuid4()
    for order_id in (confirmed, nobody):
        books.inventory(
            "INSERT INTO refusals (order_id, item_id, quantity, reason) VALUES (%s, 'ps5', 1, 'insufficient-stock')",
            [order_id],
        )
    assert set(books.broken()["refused-means-ordered"]) == {str(confirmed), str(nobody)}


@pytest.mark.parametrize("path", [(), ("queued",), ("confirmed",), ("failed",)])
@pytest.mark.parametrize("value", ["", "\\x00", "\\x" + "ab" * 32])
def test_an_overwritten_fingerprint_is_named(books: Books, path: tuple[str, ...], value: str) -> None:
    order_id = books.order("one", *path)
    books.orders("UPDATE orders SET fingerprint = %s::bytea", [value])
    assert books.broken() == {"fingerprints-fit": [str(order_id)]}


def test_stock_that_came_without_a_key_is_named(books: Books) -> None:
    books.book("ps5", 5, "restock", key="more")
    assert books.broken() == {}
    books.book("ps5", 5, "restock")
    assert books.broken() == {"ledger-in-order": ["ps5"]}


def test_an_item_that_began_twice_is_named(books: Books) -> None:
    books.book("ps5", 5, "seed")
    assert books.broken() == {"ledger-in-order": ["ps5"]}


def test_a_token_that_the_history_does_not_know_is_named(books: Books) -> None:
    order_id = books.order("one", "queued")
    books.orders("UPDATE orders SET lease_token = 7")
    assert books.broken() == {"leases-kept": [str(order_id)]}


@pytest.mark.parametrize("item", ["a\tb", "a\nb", "\t", "\n", "', '"])
def test_whatever_somebody_writes_as_an_item_the_audit_names_it(books: Books, item: str) -> None:
    order_id = books.order("one", "confirmed")
    failed = books.order("two", "failed")
    books.orders("UPDATE orders SET item_id = %s", [item])
    broken = books.broken()
    assert str(order_id) in broken["fingerprints-fit"]
    assert str(failed) in broken["fingerprints-fit"]
    assert str(order_id) in broken["confirmed-means-deducted"]
