"""Units of a drill file: the JSON Schema accepts exactly the texts that the parser accepts."""

import re

import pytest

from valerix_cli.drills.units import UNITS, PerSecond, Seconds, Share

TEXTS = [
    "5s",
    "1m30s",
    "500ms",
    "5",
    "s",
    "30%",
    "0.3",
    ".3",
    ".5%",
    "1.0",
    "%",
    ".",
    "1.",
    "50/s",
    "3000/m",
    "50",
    "/s",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("unit", UNITS)
def test_the_schema_and_the_parser_accept_the_same_units(unit: type[Seconds | Share | PerSecond], text: str) -> None:
    try:
        unit.parse(text)
    except ValueError:
        is_read = False
    else:
        is_read = True
    if unit is Seconds and re.fullmatch(r"[0-9.]+", text):
        return  # a bare number of seconds is a number in YAML, which the schema takes as one
    assert (re.search(unit.PATTERN, text) is not None) == is_read
