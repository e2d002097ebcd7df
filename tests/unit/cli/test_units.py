"""Durations, parsed and printed."""

import pytest
import typer

from valerix_cli.units import format_duration, parse_duration


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("2m", 120), ("1m30s", 90), ("1h", 3600), ("7", 7), ("0.25s", 0.25)],
)
def test_a_duration_is_parsed(typed: str, seconds: float) -> None:
    assert parse_duration(typed) == pytest.approx(seconds)


@pytest.mark.parametrize("typed", ["", "s", "5 s", "-5s", "5d", "five", "1m-30s"])
def test_an_invalid_duration_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(typed)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12 ms"), (3.44, "3.4 s"), (58.2, "58 s"), (60, "60 s"), (125, "2 m 05 s"), (12_000, "3 h 20 m")],
)
def test_a_duration_is_formatted_with_two_digits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
