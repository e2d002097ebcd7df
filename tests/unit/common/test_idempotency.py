"""The Idempotency-Key header: exactly one, well-formed, bare or quoted."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.idempotency import IdempotencyKeyInvalid, IdempotencyKeyMissing, parse_key

ALLOWED = string.ascii_letters + string.digits + "_.:-"
keys = st.text(ALLOWED, min_size=1, max_size=255)


@given(keys)
def test_a_valid_key_is_used_unchanged(key: str) -> None:
    assert parse_key([key]) == key


@given(keys)
def test_a_key_may_be_quoted_or_surrounded_by_whitespace(key: str) -> None:
    assert parse_key([f'"{key}"']) == parse_key([f" \t{key} "]) == parse_key([f' "{key}"\t']) == key


def test_the_longest_key_has_255_characters() -> None:
    assert parse_key(["k" * 255]) == "k" * 255


def test_a_key_is_never_normalized() -> None:
    assert parse_key(["Key-1"]) != parse_key(["key-1"])
    assert parse_key(["007"]) == "007"


def test_a_missing_key_is_reported() -> None:
    with pytest.raises(IdempotencyKeyMissing):
        parse_key([])


@pytest.mark.parametrize(
    "values",
    [
        [""],
        [" "],
        ['""'],
        ['"'],
        ['"a'],
        ['a"'],
        ['""a""'],
        ["'a'"],
        ['" a"'],
        ["k" * 256],
        ['"' + "k" * 256 + '"'],
        ["a b"],
        ["a\tb"],
        ["a\r\nb"],
        ["a\r\n"],
        ["a\n"],
        ["\na"],
        ["a\x00"],
        ["\x00"],
        ["a\x1f"],
        ["\x1ca"],
        ["a\xa0"],
        ["a\x85"],
        ["a/b"],
        ["a,b"],
        ["a;b=c"],
        ["é"],
        ["\u0661"],
        ["one", "two"],
        ["same", "same"],
        ["one", ""],
    ],
)
def test_anything_but_one_valid_key_is_refused(values: list[str]) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        parse_key(values)


@given(st.text(max_size=300))
def test_any_header_value_is_one_valid_key_or_refused(value: str) -> None:
    try:
        key = parse_key([value])
    except IdempotencyKeyInvalid:
        return
    assert 1 <= len(key) <= 255
    assert set(key) <= set(ALLOWED)
    assert value.strip(" \t").strip('"') == key
