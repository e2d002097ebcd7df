"""Requirements on a benchmark run."""

import pytest

from tests.benchmarks.acceptance import Line, evaluate
from tests.benchmarks.gremlins import SEEDS_CHAOS
from tests.benchmarks.results import Result, Soak
from tests.unit.benchmarks.results import BOUND, DRAIN, ordeal, result, sample


def line(of: Result, *words: str) -> Line:
    """Return the first requirement that contains all of `words`."""
    return next(one for one in evaluate(of) if all(word in one.what for word in words))


def test_an_unmeasured_requirement_neither_holds_nor_fails() -> None:
    assert {one.holds for one in evaluate(result())} == {None}
    assert {one.figure for one in evaluate(result())} == {"not measured"}


@pytest.mark.parametrize(("per_second", "holds"), [(2000.0, True), (1999.0, False)])
def test_sixty_four_clients_need_twice_the_sequential_throughput(per_second: float, holds: bool) -> None:  # noqa: FBT001 - a case
    found = line(result(cases={"hot/64": [sample(per_second)]}), "64 clients, one hot item")
    assert found.holds is holds
    assert found.required == "≥ 2 × (goal 4 ×)"


def test_two_order_services_have_the_same_requirement() -> None:
    cases = {"hot/256": [sample(2900.0)], "replicas/2/hot/256": [sample(3100.0)]}
    assert line(result(cases=cases), "256 clients, one hot item").holds is False
    assert line(result(cases=cases), "two order services, 256 clients, one hot item").holds is True


def test_several_rounds_give_the_median_and_the_extremes() -> None:
    rounds = [sample(per_second) for per_second in (1000.0, 2500.0, 3000.0)]
    found = line(result(cases={"hot/64": rounds}, bounds=[BOUND] * 3), "64 clients, one hot item")
    assert (found.figure, found.holds) == ("2.5 × (1 to 3)", True)


def test_a_single_5xx_at_a_thousand_clients_fails() -> None:
    crowd = sample(statuses={"201": 999, "503": 1})
    assert line(result(cases={"hot/1000": [crowd]}), "1,000 clients", "5xx").holds is False


def test_one_client_is_compared_with_its_three_commits() -> None:
    assert line(result(cases={"hot/1": [sample(p50=6.0)]}), "one client").holds is True
    assert line(result(cases={"hot/1": [sample(p50=6.1)]}), "one client").holds is False


def test_seeds_chaos_holds_if_orders_are_accepted_fast_drained_and_audited_clean() -> None:
    of = result(ordeals={SEEDS_CHAOS: [ordeal()]})
    assert [one.holds for one in evaluate(of) if "chaos" in one.what or "after it" in one.what] == [True] * 5


def test_responses_before_the_breaker_opened_count_too() -> None:
    of = result(ordeals={SEEDS_CHAOS: [ordeal(statuses={"202": 99, "503": 1})]})
    assert line(of, "answers other than").figure == "1"


def test_a_breaker_that_did_not_open_has_no_values_for_the_open_period() -> None:
    of = result(ordeals={SEEDS_CHAOS: [ordeal(opened_after=None)]})
    assert line(of, "breaker open: p95").holds is None


def test_a_remaining_backlog_is_not_drained() -> None:
    stuck = type(DRAIN)(20_000, 100, 10.0, 180.0, 5000.0, [(0.0, 20_000), (180.0, 100)])
    of = result(ordeals={SEEDS_CHAOS: [ordeal(drain=stuck)]})
    assert line(of, "backlog drained").holds is False


def test_an_audit_that_is_not_clean_fails() -> None:
    of = result(ordeals={SEEDS_CHAOS: [ordeal(), ordeal(audit="violated")]})
    assert line(of, "audits").holds is False


def test_a_filled_table_is_compared_with_an_empty_one_of_its_round() -> None:
    cases = {"rows/5000000/empty/64": [sample(1000.0)], "rows/5000000/full/64": [sample(840.0)]}
    assert line(result(cases=cases), "64 clients, 5,000,000 orders stored").holds is False


def test_memory_counts_services_and_neither_postgresql_nor_redis() -> None:
    of = result(peaks={"order-1": 120.0, "postgres": 900.0, "redis": 300.0})
    assert line(of, "largest service").figure == "120 MB"


def test_memory_that_grows_in_the_second_half_is_not_flat() -> None:
    times = [float(second) for second in range(0, 600, 5)]
    grown = {"order-1": [100 + second / 10 for second in times], "redis": [1 + second for second in times]}
    assert line(result(soak=Soak(64, sample(), times, grown)), "grows").holds is False
    flat = {"order-1": [100.0 for _ in times]}
    assert line(result(soak=Soak(64, sample(), times, flat)), "grows").holds is True
