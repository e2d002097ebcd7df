"""The audit checks the history of each order: transitions, claims, leases and corrections of a wrong clock."""

from datetime import timedelta

import pytest

from tests.integration.audit.tampered_databases import LEASE, Books, Step, claim, examples

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    "path", [("confirmed", "queued", "confirmed"), ("failed", "queued", "failed"), ("confirmed", "failed", "confirmed")]
)
def test_a_transition_out_of_a_final_status_is_a_violation(books: Books, path: tuple[str, ...]) -> None:
    order_id = books.order("one", *path)
    assert set(books.broken()["terminal-stays"]) == {str(order_id)}


def test_a_status_changed_without_a_transition_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "confirmed")
    books.orders("UPDATE orders SET status = 'queued'")
    assert books.broken()["terminal-stays"] == [str(order_id)]


def test_a_gap_between_two_transitions_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "queued", "confirmed")
    books.event(order_id, Step("pending", "confirmed", {}))
    assert books.broken()["terminal-stays"] == [str(order_id)]


def test_a_claim_during_the_previous_lease_is_a_violation(books: Books) -> None:
    taken_early, in_time = books.order("one", age=LEASE / 2), books.order("two", age=LEASE)
    for order_id in (taken_early, in_time):
        books.live(order_id, [claim("pending", 2)])
    assert books.broken() == {"leases-kept": [str(taken_early)]}
    assert "under token 2, and it was leased under token 1 until" in examples(books.audit(), "leases-kept")[0].wrong


def test_a_claim_of_a_released_order_is_allowed_and_its_lease_is_protected(books: Books) -> None:
    order_id = books.order("one", "queued")
    books.live(order_id, [claim("queued", 2)])
    assert books.broken() == {}
    books.live(order_id, [claim("queued", 3)])
    assert books.broken() == {"leases-kept": [str(order_id)]}


@pytest.mark.parametrize("token", [1, 2, 4, None], ids=["before-last", "last", "not-yet-given", "none"])
def test_a_settlement_without_the_token_in_force_is_a_violation(books: Books, token: int | None) -> None:
    order_id = books.order("one", "queued", "queued", age=2 * LEASE)
    if token != 2:
        books.live(order_id, [claim("queued", 3)])
    books.live(order_id, [Step("queued", "dead", {"token": token})])
    broken = books.broken()
    assert broken.keys() == {"leases-kept"}
    assert set(broken["leases-kept"]) == {str(order_id)}


def test_a_requeueing_in_the_future_does_not_reset_the_age_of_an_order(books: Books) -> None:
    order_id = books.order("old", "queued", "dead", age=HOUR)
    books.live(order_id, [Step("dead", "queued", {"cause": "requeued", "token": 3})])
    books.orders("UPDATE order_events SET at = at + interval '1 d' WHERE \"from\" = 'dead'")
    assert books.audit().verdict == "unsettled"


def correction(token: int, lease: float | None = None) -> Step:
    detail: dict[str, object] = {"cause": "clock-set-back", "token": token, "by": "order-1"}
    return Step("queued", "queued", detail if lease is None else {**detail, "lease_seconds": lease})


def test_a_lease_corrected_after_the_clock_was_set_back_ends_as_corrected(books: Books) -> None:
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
def test_a_lease_correction_without_a_clock_change_is_a_violation(books: Books, age: timedelta, step: Step) -> None:
    order_id = books.order("one", "queued", age=age)
    books.live(order_id, [claim("queued", 2)], age=age)
    books.live(order_id, [step])
    assert str(order_id) in books.broken()["leases-kept"]


def test_a_claim_during_a_corrected_lease_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "queued", age=-HOUR)
    books.live(order_id, [claim("queued", 2)], age=-HOUR)
    books.live(order_id, [correction(2, 30.0), claim("queued", 3)])
    assert str(order_id) in books.broken()["leases-kept"]


def test_a_lease_token_unknown_to_the_history_is_a_violation(books: Books) -> None:
    order_id = books.order("one", "queued")
    books.orders("UPDATE orders SET lease_token = 7")
    assert books.broken() == {"leases-kept": [str(order_id)]}
