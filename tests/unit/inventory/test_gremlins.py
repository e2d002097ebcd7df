"""Whether a gremlin hits is a function of seed, gremlin, order and attempt, and of nothing else."""

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
    LOSSES,
    Activation,
    Gremlin,
    Wish,
    chance,
    crash,
    grant,
    hits,
    loss,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [uuid5(UUID(int=0), str(number)) for number in range(10_000)]


def granted(**wish: object) -> Activation:
    return grant(msgspec.convert(wish, Wish), "a1", 7, NOW)


def test_the_hash_never_changes_so_old_receipts_can_be_replayed() -> None:
    assert chance(42, "crash", UUID(int=1), 1) == 0.23513194796189385


@pytest.mark.parametrize("gremlin", GREMLINS)
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.9])
def test_a_gremlin_hits_about_as_many_orders_as_it_was_told_to(gremlin: Gremlin, rate: float) -> None:
    activation = granted(latency=True, latency_rate=rate, crash_rate=rate, partial_failure_rate=rate, seed=42)
    hit = sum(hits(activation, gremlin, order, 1) for order in ORDERS)
    assert abs(hit / len(ORDERS) - rate) < 4 * (rate * (1 - rate) / len(ORDERS)) ** 0.5


def test_the_gremlins_attempts_and_seeds_roll_dice_of_their_own() -> None:
    one, other = granted(crash_rate=0.5, partial_failure_rate=0.5, seed=1), granted(crash_rate=0.5, seed=2)
    first = [hits(one, "crash", order, 1) for order in ORDERS]
    for others in (
        [hits(one, "crash", order, 2) for order in ORDERS],
        [hits(one, "partial_failure", order, 1) for order in ORDERS],
        [hits(other, "crash", order, 1) for order in ORDERS],
    ):
        agreeing = sum(mine is theirs for mine, theirs in zip(first, others, strict=True))
        assert 0.48 < agreeing / len(ORDERS) < 0.52


@given(st.integers(0, 2**53 - 1), st.uuids(), st.integers(1, 100))
def test_a_rate_of_one_hits_always_and_of_zero_never(seed: int, order: UUID, attempt: int) -> None:
    assert 0 <= chance(seed, "crash", order, attempt) < 1
    everything = granted(crash_rate=1.0, partial_failure_rate=0.0, seed=seed)
    assert hits(everything, "crash", order, attempt)
    assert not hits(everything, "partial_failure", order, attempt)
    assert not hits(everything, "latency", order, attempt)


def test_crashes_and_losses_come_in_all_their_kinds_about_equally_often() -> None:
    activation = granted(crash_rate=1.0, partial_failure_rate=1.0, seed=3)
    crashes = Counter(crash(activation, order, 1) for order in ORDERS)
    losses = Counter(loss(activation, order, 1) for order in ORDERS)
    assert set(crashes) == set(CRASHES)
    assert set(losses) == set(LOSSES)
    assert all(abs(count / len(ORDERS) - 1 / 3) < 0.02 for count in crashes.values())
    assert all(abs(count / len(ORDERS) - 1 / 2) < 0.02 for count in losses.values())


def test_a_wish_without_a_seed_gets_the_one_drawn_for_it() -> None:
    assert granted(crash_rate=1.0).seed == 7
    assert granted(crash_rate=1.0, seed=0).seed == 0


def test_latency_that_is_not_asked_for_has_no_rate() -> None:
    assert granted(latency_rate=1.0).rate("latency") == 0
    assert granted(latency=True).rate("latency") == 1


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
    ],
)
def test_a_wish_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=Wish)
