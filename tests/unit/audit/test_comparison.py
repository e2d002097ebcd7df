"""The audit compares buckets of orders, deductions and refusals; findings are counted and evaluated."""

import pytest

from tests.unit.audit.buckets import bucket, violations
from valerix_cli.audit import comparison, model
from valerix_cli.audit.comparison import Bucket, Comparison, FindingBuilder, MissingDeduction, RefusalComparison
from valerix_cli.audit.model import MAX_EXAMPLES, Example, Finding


def compare(confirmed: list[Bucket], deducted: list[Bucket], non_failed: list[Bucket]) -> Comparison:
    result = Comparison()
    result.run(confirmed, deducted, non_failed)
    return result


ONE, TWO, THREE = "one ps5 1", "two ps5 2", "three xbox 1"


def test_equal_databases_are_counted_and_have_no_violation() -> None:
    buckets = [bucket(1, ONE, TWO), bucket(7, THREE)]
    found = compare(buckets, buckets, buckets)
    assert (found.confirmed.finding, found.deducted.finding, found.ids.finding) == (Finding(3, 0, []),) * 3
    assert found.missing == []


def test_a_confirmed_order_without_a_deduction_is_a_violation_and_is_kept_for_a_repair() -> None:
    found = compare([bucket(1, ONE, TWO)], [bucket(1, TWO)], [bucket(1, ONE, TWO)])
    assert violations(found.confirmed.finding) == [("one", "it is confirmed, 1 x ps5, and nothing is deducted for it")]
    assert found.missing == [MissingDeduction("one", "ps5", 1)]
    assert (found.confirmed.checked, found.deducted.checked, found.deducted.broken) == (2, 1, 0)


def test_a_deduction_of_another_quantity_is_a_violation_and_is_not_repaired() -> None:
    found = compare([bucket(1, ONE)], [bucket(1, "one ps5 3")], [bucket(1, "one ps5 3")])
    assert violations(found.confirmed.finding) == [
        ("one", "it is confirmed, 1 x ps5, and the ledger has 3 x ps5 for it")
    ]
    assert found.missing == []


def test_a_deduction_without_an_order_or_for_another_body_is_a_violation() -> None:
    found = compare([], [bucket(1, ONE, TWO)], [bucket(1, "two ps5 9")])
    assert violations(found.deducted.finding) == [
        ("one", "1 x ps5 were deducted, and no order that has not failed has this id"),
        ("two", "2 x ps5 were deducted, and the order is for 9 x ps5"),
    ]


def test_two_deductions_and_two_orders_of_one_id_are_violations() -> None:
    twice = bucket(1, ONE, ONE, TWO)
    found = compare([bucket(1, ONE, TWO)], [twice], [bucket(1, ONE, TWO)])
    assert violations(found.confirmed.finding) == [("one", "the ledger has 2 deductions for it")]
    found = compare([bucket(1, ONE, TWO)], [bucket(1, ONE, TWO)], [twice])
    assert violations(found.ids.finding) == [("one", "2 orders have this id")]


def test_streams_are_matched_by_bucket_number() -> None:
    found = compare([bucket(1, ONE), bucket(3, THREE)], [bucket(2, TWO), bucket(3, THREE)], [bucket(2, TWO)])
    assert [subject for subject, _ in violations(found.confirmed.finding)] == ["one"]
    assert [subject for subject, _ in violations(found.deducted.finding)] == ["three"]
    assert (found.confirmed.checked, found.deducted.checked, found.ids.checked) == (2, 2, 1)


@pytest.mark.parametrize(("quantity", "kept"), [("2", 1), ("x", 0)])
def test_missing_deductions_are_kept_up_to_the_limit_and_only_with_a_valid_quantity(
    monkeypatch: pytest.MonkeyPatch, quantity: str, kept: int
) -> None:
    monkeypatch.setattr(comparison, "MAX_MISSING", 1)
    found = compare([bucket(1, f"one ps5 {quantity}", f"two ps5 {quantity}")], [], [])
    assert (len(found.missing), found.confirmed.broken) == (kept, 2)


def test_all_violations_are_counted_and_the_first_are_examples() -> None:
    builder = FindingBuilder()
    for number in range(MAX_EXAMPLES + 5):
        builder.add(str(number), "it is wrong")
    assert (builder.finding.broken, len(builder.finding.examples)) == (MAX_EXAMPLES + 5, MAX_EXAMPLES)
    assert violations(builder.finding)[0] == ("0", "it is wrong")


def test_merged_findings_add_violations_and_keep_the_first_examples() -> None:
    both = Finding(3, 2, [Example("a", "wrong")] * MAX_EXAMPLES).merge(Finding(5, 1, [Example("b", "wrong")]))
    assert (both.checked, both.broken, len(both.examples)) == (5, 3, MAX_EXAMPLES)
    assert Finding(5).merge(Finding(3)).checked == 5
    assert violations(Finding(1, 1, [Example("a", "old")]).merge(Finding(1, 1, [Example("b", "new")]))) == [
        ("a", "old"),
        ("b", "new"),
    ]
    assert len(model.SETTLED.evaluate(Finding(20, 20, [Example("a", "old")] * 20)).examples) == MAX_EXAMPLES


def compare_refusals(failed: list[Bucket], refused: list[Bucket], unconfirmed: list[Bucket]) -> tuple[Finding, Finding]:
    result = RefusalComparison()
    result.compare_failed(failed, refused)
    result.compare_refused(refused, unconfirmed)
    return result.failed.finding, result.refused.finding


def test_failed_orders_and_refusals_that_match_have_no_violation() -> None:
    both = [bucket(1, "one ps5 1 insufficient-stock", "two ps5 1 unknown-item")]
    assert compare_refusals(both, both, both) == (Finding(2, 0, []), Finding(2, 0, []))
    assert compare_refusals([], [bucket(1, ONE)], [bucket(1, ONE, TWO)])[1] == Finding(1, 0, [])


def test_a_failed_order_without_a_refusal_or_with_another_reason_is_a_violation() -> None:
    failed = [bucket(1, "one ps5 1 insufficient-stock", "two ps5 1 unknown-item")]
    found, _ = compare_refusals(failed, [bucket(1, "one ps5 1 unknown-item")], failed)
    assert violations(found) == [
        ("one", "it has failed, 1 x ps5 (insufficient-stock), and it was refused for 1 x ps5 (unknown-item)"),
        ("two", "it has failed, 1 x ps5 (unknown-item), and it has no refusal"),
    ]


def test_a_refusal_without_an_order_or_for_another_body_is_a_violation() -> None:
    _, found = compare_refusals([], [bucket(1, ONE, TWO)], [bucket(1, "two ps5 9")])
    assert violations(found) == [
        ("one", "1 x ps5 was refused, and no unconfirmed order has its id"),
        ("two", "2 x ps5 was refused, and the order is for 9 x ps5"),
    ]


def test_a_rule_is_evaluated_by_its_finding_and_the_worst_verdict_counts() -> None:
    held = model.NO_OVERSELL.evaluate(Finding(3))
    violated = model.NO_OVERSELL.evaluate(Finding(3, 1))
    unsettled = model.SETTLED.evaluate(Finding(3, 1))
    unchecked = model.CACHE_AGREES.unchecked()
    assert [one.verdict for one in (held, violated, unsettled, unchecked)] == [
        "held",
        "violated",
        "unsettled",
        "not-checked",
    ]
    assert (unchecked.checked, unchecked.broken) == (0, 0)
    assert model.conclude([held, unchecked]) == "clean"
    assert model.conclude([held, unsettled]) == "unsettled"
    assert model.conclude([unsettled, violated]) == "violated"
