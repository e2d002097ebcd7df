"""Formatting of values on the page."""

import math

import pytest

from services.frontend.filters import count, duration, finalize, percent, rate, seconds, short, symbol, visible


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (0.00123, "1.2 ms"),
        (0.0123, "12 ms"),
        (0.999, "999 ms"),
        (1.0, "1.00 s"),
        (9.994, "9.99 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (65, "1 min 05 s"),
        (3599, "59 min 59 s"),
        (12_000, "3 h 20 min"),
        (math.inf, "over 10 s"),
    ],
)
def test_durations_are_rounded_by_magnitude(given: float | None, text: str) -> None:
    assert duration(given) == text


def test_countdowns_are_whole_seconds_and_never_negative() -> None:
    assert [seconds(value) for value in (-1.0, 0.0, 0.2, 7.0)] == ["0 s", "0 s", "1 s", "7 s"]


def test_numbers_are_grouped_and_small_rates_have_one_decimal() -> None:
    assert [count(1234567), rate(0), rate(0.42), rate(12.4), rate(1234)] == ["1,234,567", "0", "0.4", "12", "1,234"]
    assert percent(0.3) == "30%"


def test_every_state_has_its_own_symbol() -> None:
    states = ["closed", "half-open", "open"]
    assert len({symbol(state) for state in states}) == 3
    assert symbol("never heard of") == "?"


def test_long_ids_are_shortened_and_short_ones_unchanged() -> None:
    assert [short("b5e2c1d0-1234-5678"), short("short")] == ["b5e2c1d0…", "short"]


@pytest.mark.parametrize("code", [0x00, 0x1B, 0x7F, 0x85, 0x9B, 0x061C, 0x200F, 0x202E, 0x2066, 0xFEFF, 0xD800])
def test_invisible_characters_are_escaped(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a\\u{code:04x}b"
    assert finalize(chr(code)) == f"\\u{code:04x}"


def test_visible_text_and_other_values_are_unchanged() -> None:
    assert visible("é中😀\t\r\n<&>") == "é中😀\t\r\n<&>"
    assert [finalize(value) for value in (None, 1, 1.5)] == [None, 1, 1.5]
