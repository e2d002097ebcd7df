"""Summary of repeated requests with one key."""

from tests.unit.cli.samples import ORDER_ID, OTHER_ID, order, problem, sent
from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.commands.order_replay import mutated, summarize_replay


def test_five_sends_with_one_order_pass() -> None:
    sends = [sent(order()), *[sent(order(), replayed=True)] * 3, sent(problem("request-in-flight", 409))]
    result = summarize_replay("a-key", sends, mutated=False, deductions=1)
    assert result.held
    assert result.order_ids == [str(ORDER_ID)]
    assert result.conclusion == (
        "5 sends, 1 order, 1 deduction "
        "(3 answered with the stored response; 1 refused with 409 while the first was in progress)."
    )


def test_two_orders_under_one_key_fail() -> None:
    result = summarize_replay("a-key", [sent(order()), sent(order(order_id=OTHER_ID))], mutated=False, deductions=None)
    assert not result.held


def test_two_deductions_for_one_key_fail() -> None:
    assert not summarize_replay("a-key", [sent(order())], mutated=False, deductions=2).held


def test_a_refused_changed_body_passes_and_keeps_the_order() -> None:
    refused = problem("idempotency-key-reused", 422, order_id=str(ORDER_ID))
    result = summarize_replay("a-key", [sent(refused)] * 2, mutated=True, deductions=1)
    assert result.held
    assert result.conclusion == (
        f"2 of 2 sends with another quantity refused, as they must be; order {ORDER_ID} is unchanged."
    )


def test_a_changed_body_that_was_not_compared_is_inconclusive() -> None:
    busy = [sent(problem("request-in-flight", 409, order_id=str(ORDER_ID)))] * 2
    assert summarize_replay("a-key", busy, mutated=True, deductions=1).conclusion == (
        "None of 2 sends with another quantity was refused for it: the test is inconclusive."
    )


def test_a_queued_key_without_a_deduction_passes() -> None:
    queued = summarize_replay("a-key", [sent(order(status="queued"), status=202)], mutated=False, deductions=0)
    assert (queued.held, queued.conclusion) == (True, "1 send, 1 order, 0 deductions.")


def test_the_conclusion_counts_accepted_and_refused_changed_bodies() -> None:
    accepted = summarize_replay("a-key", [sent(order())], mutated=True, deductions=1)
    assert accepted.conclusion == "1 of 1 send with another quantity were accepted under the same key."
    refused = summarize_replay("a-key", [sent(problem("idempotency-key-reused", 422))], mutated=True, deductions=0)
    assert refused.conclusion == "1 of 1 send with another quantity refused, as they must be."


def test_the_conclusion_states_that_deductions_were_not_counted() -> None:
    summary = summarize_replay("a-key", [sent(order())], mutated=False, deductions=None).conclusion
    assert summary == "1 send, 1 order (the ledger could not be read, so deductions were not counted)."


def test_an_accepted_changed_body_fails() -> None:
    assert not summarize_replay("a-key", [sent(order(), replayed=True)], mutated=True, deductions=1).held


def test_a_mutated_order_differs_and_stays_within_the_quantity_limits() -> None:
    assert mutated(OrderRequest("ps5", 1, "a-key")) == OrderRequest("ps5", 2, "a-key")
    assert mutated(OrderRequest("ps5", 1000, "a-key")) == OrderRequest("ps5", 999, "a-key")
