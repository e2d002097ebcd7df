"""Orders and their transitions."""

import uuid
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.idempotency import IdempotencyKeyReused
from services.order.domain import (
    DEFERRAL_JITTER,
    KEYS_TO_ORDERS,
    Claim,
    Deducted,
    InsufficientStock,
    NoRecord,
    NotSent,
    OrderBody,
    Outcome,
    Refused,
    Replay,
    RequestInFlight,
    Status,
    Unknown,
    UnknownItem,
    admit,
    decide,
    fingerprint,
    new_order,
    order_id_of,
    refusal_of,
)
from tests.unit.order.samples import claim, order, stored, wanted

keys = st.from_regex(r"[A-Za-z0-9_.:-]{1,255}", fullmatch=True)
claims = st.builds(
    claim, attempt=st.integers(1, 100_000), token=st.integers(1, 2**40), status=st.sampled_from(["pending", "queued"])
)
outcomes = st.one_of(
    st.builds(Deducted, st.booleans()),
    st.builds(Refused, st.sampled_from(["insufficient-stock", "unknown-item"]), st.none() | st.integers(0, 100)),
    st.builds(Unknown, st.text(max_size=20)),
    st.builds(NotSent, st.text(max_size=20), st.floats(0, 60)),
    st.just(NoRecord()),
)


shares = st.floats(0, 1)


class Jitter(Random):
    """Returns a given number: 0 for the least of each range, 1 for the most."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def random(self) -> float:
        return self.share


def decode(body: bytes) -> OrderBody:
    return msgspec.json.decode(body, type=OrderBody)


def test_a_key_has_one_order_id_on_every_replica_and_in_every_run() -> None:
    assert wanted("key-1").order_id == uuid.UUID("da819d29-2b6b-5065-8c88-5eb08b7e0f8c")


@given(st.text())
def test_an_order_id_is_the_name_based_uuid_of_its_key(key: str) -> None:
    assert order_id_of(key) == uuid.uuid5(KEYS_TO_ORDERS, key)


@given(first=keys, second=keys)
def test_two_keys_have_two_order_ids(first: str, second: str) -> None:
    assert (wanted(first).order_id == wanted(second).order_id) == (first == second)


@given(
    st.tuples(st.text(max_size=8), st.integers(1, 1000)),
    st.tuples(st.text(max_size=8), st.integers(1, 1000)),
)
def test_two_bodies_share_a_fingerprint_only_if_they_are_equivalent(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


@pytest.mark.parametrize(
    "body",
    [
        b'{"item_id":"ps5","quantity":2}',
        b'{"quantity":2,"item_id":"ps5"}',
        b'\n{ "item_id" : "p\\u0073\\u0035",\r\n\t"quantity" : 2 }  ',
        b'{"item_id":"xbox","item_id":"ps5","quantity":2}',
    ],
)
def test_the_formatting_of_a_body_does_not_change_its_fingerprint(body: bytes) -> None:
    assert new_order("key", decode(body), "request").fingerprint == fingerprint("ps5", 2)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b'{"item_id":"ps5","quantity":%s}' % quantity
            for quantity in (b"0", b"-1", b"1001", b"1.5", b"1.0", b'"1"', b"true", b"1e309", b"NaN", b"null", b"{}")
        ),
        *(
            b'{"item_id":%s,"quantity":1}' % item
            for item in (
                b'""',
                b'"a b"',
                b'"ps5\\n"',
                b'"\\nps5"',
                b'"ps5\\u0000"',
                b'"..\\/x"',
                b'"%2e"',
                b'"."',
                b'".."',
                b"1",
            )
        ),
        b'{"item_id":"%s","quantity":1}' % (b"x" * 65),
        b'{"item_id":"caf\xc3\xa9","quantity":1}',
        b'{"item_id":"ps5","quantity":1,"price":1}',
        b'{"item_id":"ps5"}',
        b'{"quantity":1}',
        b'{"item_id":"ps5","quantity":1',
        b"[]",
        b"",
    ],
)
def test_an_invalid_order_body_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body)


def test_the_smallest_and_the_largest_order_are_accepted() -> None:
    assert decode(b'{"item_id":"x","quantity":1}') == OrderBody("x", 1)
    assert decode(b'{"item_id":"%s","quantity":1000}' % (b"x" * 64)) == OrderBody("x" * 64, 1000)


@pytest.mark.parametrize("status", get_args(Status))
@pytest.mark.parametrize("is_leased", [True, False])
def test_a_key_with_another_body_is_refused_in_any_state_of_its_order(status: Status, *, is_leased: bool) -> None:
    admission = admit(wanted(quantity=2), stored(status, is_leased=is_leased))
    assert isinstance(admission, IdempotencyKeyReused)
    assert admission.members == {"order_id": wanted().order_id}


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_repeat_of_a_leased_order_is_refused_as_in_flight(status: Status) -> None:
    admission = admit(wanted(), stored(status, is_leased=True))
    assert isinstance(admission, RequestInFlight)
    assert admission.headers == {"Retry-After": "1"}


@pytest.mark.parametrize(
    ("status", "is_leased"),
    [
        ("pending", False),
        ("queued", False),
        *((status, leased) for status in ("confirmed", "failed", "dead") for leased in (True, False)),
    ],
)
def test_a_repeat_of_any_other_order_returns_the_order(status: Status, *, is_leased: bool) -> None:
    kept = stored(status, is_leased=is_leased)
    assert admit(wanted(), kept) == Replay(kept.order)


@given(claim=claims, outcome=outcomes, share=shares)
def test_an_unknown_outcome_never_fails_an_order(claim: Claim, outcome: Outcome, share: float) -> None:
    """`failed` needs a refusal, `confirmed` a deduction, `dead` an inventory without a record; all else is queued."""
    expected = {Deducted: "confirmed", Refused: "failed", Unknown: "queued", NotSent: "queued", NoRecord: "dead"}
    settlement = decide(claim, outcome, Jitter(share))
    assert settlement.status == expected[type(outcome)]
    assert settlement.claim == claim
    assert (settlement.delay is not None) == (settlement.status == "queued")


@given(claim=claims, outcome=outcomes, share=shares)
def test_only_an_order_that_was_not_sent_does_not_use_an_attempt(claim: Claim, outcome: Outcome, share: float) -> None:
    settlement = decide(claim, outcome, Jitter(share))
    assert settlement.attempts == claim.attempt - isinstance(outcome, NotSent)
    assert settlement.attempts >= 0


@given(claim=claims, outcome=outcomes, share=shares)
def test_the_history_has_the_attempt_and_the_reason(claim: Claim, outcome: Outcome, share: float) -> None:
    settlement = decide(claim, outcome, Jitter(share))
    assert settlement.detail["attempt"] == claim.attempt
    assert settlement.detail["token"] == claim.token
    assert settlement.detail.get("cause") == settlement.reason
    assert ("retry_in_seconds" in settlement.detail) == (settlement.status == "queued")


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (30, 8), (1025, 8), (2**31 - 1, 8)]
)
def test_the_back_off_doubles_up_to_its_cap_with_full_jitter(attempt: int, longest: float) -> None:
    assert decide(claim(attempt), Unknown("timeout"), Jitter(0)).delay == 0
    assert decide(claim(attempt), Unknown("timeout"), Jitter(1)).delay == longest


def test_a_deferral_waits_slightly_longer_than_the_breaker() -> None:
    assert decide(claim(), NotSent("breaker-open", 7.5), Jitter(0)).delay == 7.5
    assert decide(claim(), NotSent("breaker-open", 7.5), Jitter(1)).delay == 7.5 + DEFERRAL_JITTER


def test_a_failed_order_is_answered_with_its_reason() -> None:
    short = refusal_of(order("failed", "insufficient-stock"))
    assert isinstance(short, InsufficientStock)
    assert short.members == {"order_id": wanted().order_id, "item_id": "ps5", "requested": 1}
    assert isinstance(refusal_of(order("failed", "unknown-item")), UnknownItem)
