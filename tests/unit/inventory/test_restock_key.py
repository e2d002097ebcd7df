"""The key of a restock, as received."""

import pytest

from services.common.idempotency import IdempotencyKeyInvalid, IdempotencyKeyMissing, parse_key


@pytest.mark.parametrize("sent", ["k-1", '"k-1"', " k-1 "])
def test_a_key_may_be_quoted(sent: str) -> None:
    assert parse_key([sent]) == "k-1"


def test_a_missing_key_is_reported() -> None:
    with pytest.raises(IdempotencyKeyMissing):
        parse_key([])


@pytest.mark.parametrize("sent", [[""], ['""'], ["a b"], ["a" * 256], ["a\0"], ["a\r\nb"], ["a", "a"], ['"a']])
def test_other_keys_are_invalid(sent: list[str]) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        parse_key(sent)
