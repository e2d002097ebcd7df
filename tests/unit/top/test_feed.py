"""The feed of orders."""

from uuid import UUID, uuid4

from tests.unit.cli.samples import NOON, OTHER_ID, later, order, problem, sent
from valerix_cli.clients.wire import Order
from valerix_cli.top.feed import PAGE, Feed, fold, with_ours


def some(number: int, **changes: object) -> list[Order]:
    return [order(order_id=uuid4(), idempotency_key=f"k-{one}", **changes) for one in range(number)]


def test_the_first_poll_fills_the_feed_newest_first() -> None:
    newest = order(order_id=OTHER_ID, updated_at=later(5))
    assert [line.at for line in fold(Feed(), [newest, order()]).lines] == [later(5), NOON]


def test_an_order_is_listed_again_only_when_its_status_changes() -> None:
    feed = fold(Feed(), [order(status="queued")])
    assert fold(feed, [order(status="queued", attempts=2)]).lines == feed.lines
    line, _ = fold(feed, [order(status="confirmed", updated_at=later(1))]).lines
    assert (line.before, line.status) == ("queued", "confirmed")


def test_a_feed_marks_orders_skipped_between_two_polls() -> None:
    feed = fold(Feed(), some(PAGE))
    assert not feed.skipped
    assert fold(feed, some(PAGE)).skipped
    assert not fold(feed, [order(order_id=UUID(int=7)), *some(3)]).skipped


def test_a_feed_is_bounded() -> None:
    feed = Feed()
    for _ in range(15):
        feed = fold(feed, some(PAGE))
    assert len(feed.lines) <= 200
    assert len(feed.known) <= 1000


def test_own_orders_are_marked_and_come_first() -> None:
    feed = fold(Feed(), [*some(9, updated_at=later(9)), order()])
    lines = with_ours(feed.lines, [sent(order())])
    assert [line.ours for line in lines] == [True] + [False] * 9
    assert not lines[0].replayed


def test_a_replay_has_its_own_line() -> None:
    lines = with_ours(fold(Feed(), [order()]).lines, [sent(order()), sent(order(), replayed=True)])
    assert sorted(line.replayed for line in lines) == [False, True]


def test_a_refusal_without_an_order_is_listed_with_its_reason() -> None:
    [line] = with_ours([], [sent(problem("idempotency-key-reused", 422))])
    assert (line.status, line.reason) == ("refused", "idempotency-key-reused")


def test_own_orders_stay_when_others_fill_the_feed() -> None:
    [first, *_] = with_ours(fold(Feed(), some(9, updated_at=later(9))).lines, [sent(order(status="queued"))])
    assert (first.ours, first.status) == (True, "queued")
