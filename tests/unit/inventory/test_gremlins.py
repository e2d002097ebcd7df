"""A gremlin's hits are a function of seed, gremlin, order and attempt only."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.gremlins import (
    CRASHES,
    GREMLINS,
    MAX_SCRIPT_LENGTH,
    PARTIAL_FAILURES,
    Activation,
    ActivationRequest,
    Gremlin,
    Hit,
    build_activation,
    chance,
    crash,
    is_hit,
    partial_failure,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [uuid5(UUID(int=0), str(number)) for number in range(10_000)]


def built(**wish: object) -> Activation:
    return build_activation(msgspec.convert(wish, ActivationRequest), "a1", 7, NOW)


def test_the_fault_hash_never_changes() -> None:
    assert chance(42, "crash", UUID(int=1), 1) == 0.23513194796189385


@pytest.mark.parametrize("gremlin", GREMLINS)
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.9])
def test_a_gremlin_hits_about_the_configured_share_of_orders(gremlin: Gremlin, rate: float) -> None:
    activation = built(latency=True, latency_rate=rate, crash_rate=rate, partial_failure_rate=rate, seed=42)
    hit = sum(is_hit(activation, gremlin, order, 1) for order in ORDERS)
    assert abs(hit / len(ORDERS) - rate) < 4 * (rate * (1 - rate) / len(ORDERS)) ** 0.5


def test_hits_are_independent_between_gremlins_attempts_and_seeds() -> None:
    one, other = built(crash_rate=0.5, partial_failure_rate=0.5, seed=1), built(crash_rate=0.5, seed=2)
    first = [is_hit(one, "crash", order, 1) for order in ORDERS]
    for others in (
        [is_hit(one, "crash", order, 2) for order in ORDERS],
        [is_hit(one, "partial_failure", order, 1) for order in ORDERS],
        [is_hit(other, "crash", order, 1) for order in ORDERS],
    ):
        agreeing = sum(mine is theirs for mine, theirs in zip(first, others, strict=True))
        assert 0.48 < agreeing / len(ORDERS) < 0.52


@given(st.integers(0, 2**53 - 1), st.uuids(), st.integers(1, 100))
def test_a_rate_of_one_always_hits_and_zero_never(seed: int, order: UUID, attempt: int) -> None:
    assert 0 <= chance(seed, "crash", order, attempt) < 1
    everything = built(crash_rate=1.0, partial_failure_rate=0.0, seed=seed)
    assert is_hit(everything, "crash", order, attempt)
    assert not is_hit(everything, "partial_failure", order, attempt)
    assert not is_hit(everything, "latency", order, attempt)


def test_all_kinds_of_crashes_and_losses_are_about_equally_frequent() -> None:
    activation = built(crash_rate=1.0, partial_failure_rate=1.0, seed=3)
    crashes = Counter(crash(activation, order, 1) for order in ORDERS)
    losses = Counter(partial_failure(activation, order, 1) for order in ORDERS)
    assert set(crashes) == set(CRASHES)
    assert set(losses) == set(PARTIAL_FAILURES)
    assert all(abs(count / len(ORDERS) - 1 / 3) < 0.02 for count in crashes.values())
    assert all(abs(count / len(ORDERS) - 1 / 2) < 0.02 for count in losses.values())


def test_an_activation_without_a_seed_gets_a_random_one() -> None:
    assert built(crash_rate=1.0).seed == 7
    assert built(crash_rate=1.0, seed=0).seed == 0


def test_latency_that_was_not_requested_has_rate_zero() -> None:
    assert built(latency_rate=1.0).rate("latency") == 0
    assert built(latency=True).rate("latency") == 1


@pytest.mark.parametrize("gremlin", GREMLINS)
@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_a_script_overrides_the_rate(gremlin: Gremlin, rate: float) -> None:
    script = frozenset(Hit(gremlin, order, 1 + number % 2) for number, order in enumerate(ORDERS[:40]))
    activation = built(
        latency=True, latency_rate=rate, crash_rate=rate, partial_failure_rate=rate, seed=42, script=[*script]
    )
    asked = [Hit(each, order, attempt) for each in GREMLINS for order in ORDERS[:80] for attempt in (1, 2)]
    assert {hit for hit in asked if is_hit(activation, hit.gremlin, hit.order_id, hit.attempt, script)} == script


def test_a_disabled_gremlin_hits_nothing_of_its_script() -> None:
    script = [Hit(gremlin, ORDERS[0], 1) for gremlin in GREMLINS]
    activation = built(latency=False, crash_rate=0.5, script=script)
    assert [each for each in GREMLINS if is_hit(activation, each, ORDERS[0], 1, frozenset(script))] == ["crash"]


@pytest.mark.parametrize("script", [[], [Hit("crash", ORDERS[0], 1)]])
def test_an_empty_or_lost_script_hits_nothing(script: list[Hit]) -> None:
    activation = built(crash_rate=1.0, script=script)
    assert activation.script_length == len(script)
    assert not any(is_hit(activation, "crash", order, 1) for order in ORDERS[:100])


def test_a_script_leaves_the_kinds_of_faults_to_the_seed() -> None:
    scripted, diced = built(crash_rate=1.0, seed=3, script=[]), built(crash_rate=1.0, seed=3)
    for order in ORDERS[:100]:
        assert crash(scripted, order, 1) == crash(diced, order, 1)
        assert partial_failure(scripted, order, 1) == partial_failure(diced, order, 1)


def test_an_activation_of_an_earlier_version_has_no_script() -> None:
    stored = (
        b'{"id":"a1","latency":false,"latency_ms":5000,"latency_rate":1.0,"crash_rate":1.0,'
        b'"partial_failure_rate":0.0,"seed":7,"ttl_seconds":60,"reason":null,"set_at":"2026-01-01T00:00:00Z"}'
    )
    assert msgspec.json.decode(stored, type=Activation) == built(crash_rate=1.0)


A_HIT = {"gremlin": "crash", "order_id": str(ORDERS[0]), "attempt": 1}


def test_a_script_may_list_ten_thousand_hits() -> None:
    assert built(script=[A_HIT] * MAX_SCRIPT_LENGTH).script_length == MAX_SCRIPT_LENGTH == 10_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl_seconds": 0},
        {"ttl_seconds": 901},
        {"ttl_seconds": 1.5},
        {"crash_rate": 1.01},
        {"partial_failure_rate": -0.1},
        {"latency_rate": "0.5"},
        {"latency_ms": -1},
        {"latency_ms": 60_001},
        {"seed": -1},
        {"seed": 2**53},
        {"latency": 1},
        {"reason": "x" * 201},
        {"surprise": True},
        {"script": A_HIT},
        {"script": [A_HIT] * (MAX_SCRIPT_LENGTH + 1)},
        {"script": [A_HIT | {"surprise": 1}]},
        {"script": [A_HIT | {"gremlin": "gravity"}]},
        {"script": [A_HIT | {"attempt": 0}]},
        {"script": [A_HIT | {"order_id": "1"}]},
        {"script": [{"gremlin": "crash", "order_id": str(ORDERS[0])}]},
    ],
)
def test_an_activation_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=ActivationRequest)
