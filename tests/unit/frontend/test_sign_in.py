"""Sign-in with the dashboard's password, or with a code derived from it."""

import string

import pytest
from itsdangerous import URLSafeSerializer

from services.common.refusals import RateLimited
from services.frontend.guesses import ADDRESS_LIMIT
from services.frontend.revocations import Revocations
from services.frontend.sign_in import SignIn, key_of
from valerix_cli.local import sign_in_link as cli

PASSWORD = "p-93be07d1c6a8f245"
NOW = 1_790_000_000.0
HERE = "192.0.2.1"


def door(now: float = NOW) -> SignIn:
    return SignIn(PASSWORD, Revocations(None, 60, clock=lambda: now), clock=lambda: now)


async def test_the_password_can_be_used_repeatedly() -> None:
    mine = door()
    for given in (PASSWORD, f" {PASSWORD}\n", PASSWORD):
        assert await mine.verify(given, HERE)


async def test_a_code_of_the_command_line_signs_in_once() -> None:
    mine, code = door(), cli.code(PASSWORD, NOW)
    assert [await mine.verify(code, HERE), await mine.verify(code, HERE)] == [True, False]


async def test_another_spelling_of_a_used_code_is_refused() -> None:
    """The last base64 character of a signature has two unused bits."""
    mine, code = door(), cli.code(PASSWORD, NOW)
    spellings = [code[:-1] + last for last in string.ascii_letters + string.digits + "-_"]
    genuine = [spelling for spelling in spellings if await door().verify(spelling, HERE)]
    assert 1 < len(genuine) < 10, "the library tells the spellings apart, so the test is inconclusive"
    assert [await mine.verify(spelling, HERE) for spelling in genuine] == [True] + [False] * (len(genuine) - 1)


async def test_a_code_expires() -> None:
    code = cli.code(PASSWORD, NOW)
    assert not await door(NOW + cli.CODE_SECONDS).verify(code, HERE)
    assert await door(NOW + cli.CODE_SECONDS - 1).verify(code, HERE)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "-",
        "p",
        PASSWORD.upper(),
        "1790000600-",
        "1790000600-0123",
        "²-x",
        "é",
        "\ud800",
        "\ud800-x-\udfff",
        "٣-x-y",
        "WzE3OTAwMDA2MDAsIngiXQ.",
        ".",
        ".x",
        "WzFd.x" * 100,
    ],
)
async def test_any_other_code_is_refused(given: str) -> None:
    assert not await door().verify(given, HERE)


async def test_a_later_code_cannot_be_forged_from_a_known_one() -> None:
    payload, signature = cli.code(PASSWORD, NOW).split(".")
    later = URLSafeSerializer("another password", "valerix dashboard sign-in").dumps([int(NOW) + 601, "x"])
    of_later, of_code = f"{later.split('.')[0]}.{signature}", f"{payload}.{signature[:-1]}"
    for forged in (later, of_later, of_code, f"{payload}.", signature):
        assert not await door().verify(forged, HERE)


async def test_two_codes_of_the_same_time_both_sign_in() -> None:
    mine, codes = door(), [cli.code(PASSWORD, NOW), cli.code(PASSWORD, NOW)]
    assert [await mine.verify(code, HERE) for code in codes] == [True, True]


async def test_too_many_wrong_passwords_block_the_password_but_not_a_code() -> None:
    mine = door()
    for _ in range(ADDRESS_LIMIT):
        assert not await mine.verify("wrong", HERE)
    with pytest.raises(RateLimited):
        await mine.verify(PASSWORD, HERE)
    assert await mine.verify(cli.code(PASSWORD, NOW), HERE)


def test_the_session_key_is_derived_from_the_password() -> None:
    assert key_of(PASSWORD) == key_of(PASSWORD)
    assert key_of(PASSWORD) != key_of(PASSWORD + "x")
