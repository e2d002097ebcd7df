"""Decisions on a batch, compared with a model that serves one line at a time."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain import Conflict, Deducted, Line, Outcome, Refused, StoredOutcome, changes, decide

ITEMS = ("ps5", "xbox", "never-heard-of-it")


def line(order: int, quantity: int = 1, item_id: str = "ps5") -> Line:
    return Line(UUID(int=order), item_id, quantity)


lines = st.builds(line, st.integers(0, 12), st.integers(1, 5), st.sampled_from(ITEMS))
stocks = st.fixed_dictionaries({"ps5": st.integers(0, 12), "xbox": st.integers(0, 12)})


class Naive:
    """Serves one line after the other and remembers its results."""

    def __init__(self, stock: dict[str, int]) -> None:
        self.stock = dict(stock)
        self.decided: dict[UUID, tuple[Line, Outcome]] = {}

    def serve(self, wanted: Line) -> Outcome:
        if wanted.order_id in self.decided:
            first, outcome = self.decided[wanted.order_id]
            if wanted != first:
                return Conflict(first.item_id, first.quantity)
            if isinstance(outcome, Refused):
                return Refused(outcome.reason, outcome.available, repeated=True)
            return Deducted(self.stock[wanted.item_id], repeated=True)
        outcome = self._first(wanted)
        self.decided[wanted.order_id] = (wanted, outcome)
        return outcome

    def _first(self, wanted: Line) -> Outcome:
        if wanted.item_id not in self.stock:
            return Refused("unknown-item")
        if self.stock[wanted.item_id] < wanted.quantity:
            return Refused("insufficient-stock", self.stock[wanted.item_id])
        self.stock[wanted.item_id] -= wanted.quantity
        return Deducted(self.stock[wanted.item_id])


def test_a_refused_line_uses_no_stock_of_a_later_smaller_one() -> None:
    assert decide({"ps5": 5}, {}, [line(1, 4), line(2, 3), line(3, 1)]) == [
        Deducted(1),
        Refused("insufficient-stock", 1),
        Deducted(0),
    ]


def test_a_repeat_within_a_batch_gets_the_result_of_the_first() -> None:
    assert decide({"ps5": 2}, {}, [line(1, 2), line(2), line(1, 2), line(2)]) == [
        Deducted(0),
        Refused("insufficient-stock", 0),
        Deducted(0, repeated=True),
        Refused("insufficient-stock", 0, repeated=True),
    ]


def test_a_refused_order_stays_refused_despite_new_stock() -> None:
    refusal = Refused("insufficient-stock", 0)
    answered = {UUID(int=1): StoredOutcome("ps5", 1, refusal)}
    assert decide({"ps5": 1000}, answered, [line(1)]) == [Refused("insufficient-stock", 0, repeated=True)]


def test_a_repeat_with_other_contents_is_a_conflict_and_changes_nothing() -> None:
    outcomes = decide({"ps5": 9, "xbox": 9}, {}, [line(1, 2), line(1, 3), line(1, 2, "xbox")])
    assert outcomes == [Deducted(7), Conflict("ps5", 2), Conflict("ps5", 2)]


@given(stocks, st.lists(lines, max_size=30))
def test_a_batch_has_the_results_of_one_by_one_processing(stock: dict[str, int], wanted: list[Line]) -> None:
    naive = Naive(stock)
    assert decide(stock, {}, wanted) == [naive.serve(each) for each in wanted]


@given(stocks, st.lists(st.lists(lines, max_size=10), max_size=5))
def test_batch_boundaries_do_not_change_results(stock: dict[str, int], batches: list[list[Line]]) -> None:
    naive, left, answered = Naive(stock), dict(stock), dict[UUID, StoredOutcome]()
    for batch in batches:
        outcomes = decide(left, answered, batch)
        assert outcomes == [naive.serve(each) for each in batch]
        new = changes(batch, outcomes)
        for taken in new.deductions:
            left[taken.item_id] -= taken.quantity
            answered[taken.order_id] = StoredOutcome(taken.item_id, taken.quantity)
        for refused, refusal in new.refusals:
            answered[refused.order_id] = StoredOutcome(refused.item_id, refused.quantity, refusal)
    assert left == naive.stock
    assert all(quantity >= 0 for quantity in left.values())


@given(stocks, st.lists(lines, max_size=30))
def test_every_order_is_stored_at_most_once_as_deducted_or_refused(stock: dict[str, int], wanted: list[Line]) -> None:
    new = changes(wanted, decide(stock, {}, wanted))
    stored = [each.order_id for each in new.deductions] + [each.order_id for each, _ in new.refusals]
    assert sorted(stored) == sorted({each.order_id for each in wanted})
