"""Who may act from the dashboard: whoever has its password, or a code that was made from it."""

import pytest

from services.frontend.signing import Door
from valerix_cli.local import door as cli

PASSWORD = "p-93be07d1c6a8f245"
NOW = 1_790_000_000.0


def door(now: float = NOW) -> Door:
    return Door(PASSWORD, lambda: now)


def test_the_password_opens_again_and_again() -> None:
    mine = door()
    assert [mine.opens_for(PASSWORD), mine.opens_for(f" {PASSWORD}\n"), mine.opens_for(PASSWORD)] == [True, True, True]


def test_a_code_that_the_command_line_made_opens_once() -> None:
    mine, code = door(), cli.code(PASSWORD, NOW)
    assert [mine.opens_for(code), mine.opens_for(code)] == [True, False]


def test_a_code_ends() -> None:
    code = cli.code(PASSWORD, NOW)
    assert not door(NOW + cli.LASTS).opens_for(code)
    assert door(NOW + cli.LASTS - 1).opens_for(code)


@pytest.mark.parametrize("given", ["", "-", "p", PASSWORD.upper(), "1790000600-", "1790000600-0123", "²-x", "é"])
def test_nothing_else_opens(given: str) -> None:
    assert not door().opens_for(given)


def test_a_code_for_later_cannot_be_made_from_one_that_is_known() -> None:
    ends, number, proof = cli.code(PASSWORD, NOW).split("-")
    assert not door().opens_for(f"{int(ends) + 1}-{number}-{proof}")
    assert not door().opens_for(f"{ends}-{proof}")


def test_two_codes_of_one_moment_open_both() -> None:
    mine, codes = door(), [cli.code(PASSWORD, NOW), cli.code(PASSWORD, NOW)]
    assert [mine.opens_for(code) for code in codes] == [True, True]


def test_secrets_differ_by_purpose_and_password_and_stay_the_same() -> None:
    assert door().secret("forms") == door().secret("forms")
    assert len({door().secret("forms"), door().secret("sessions"), Door("other").secret("forms")}) == 3
