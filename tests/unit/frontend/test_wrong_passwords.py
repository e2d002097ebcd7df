"""The limit of wrong passwords per minute."""

import pytest

from services.frontend.guesses import ADDRESS_LIMIT, MAX_TRUSTED, TOTAL_LIMIT, WINDOW, Guesses


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def spend(guesses: Guesses, *addresses: str) -> None:
    for address in addresses:
        for _ in range(ADDRESS_LIMIT):
            assert guesses.wait(address) == 0
            guesses.wrong(address)


def test_an_address_waits_until_its_oldest_guess_is_a_minute_old(guesses: Guesses, clock: Clock) -> None:
    spend(guesses, "192.0.2.1")
    clock.now += 20
    assert guesses.wait("192.0.2.1") == 40
    assert guesses.wait("192.0.2.2") == 0
    clock.now += 40
    assert guesses.wait("192.0.2.1") == 0


def test_the_total_limit_exempts_addresses_that_signed_in_before(guesses: Guesses, clock: Clock) -> None:
    guesses.right("198.51.100.7")
    spend(guesses, *(f"192.0.2.{number}" for number in range(TOTAL_LIMIT // ADDRESS_LIMIT)))
    assert guesses.wait("203.0.113.9") == WINDOW
    spend(guesses, "198.51.100.7")
    assert guesses.wait("198.51.100.7") == WINDOW
    clock.now += WINDOW
    assert guesses.wait("203.0.113.9") == 0


def test_remembered_addresses_are_bounded(guesses: Guesses, clock: Clock) -> None:
    for number in range(3 * MAX_TRUSTED):
        guesses.right(f"2001:db8:0:{number:x}::1")
        guesses.wrong(f"2001:db8:0:{number:x}::1")
    remembered = vars(guesses)
    assert len(remembered["_trusted"]) == MAX_TRUSTED
    assert len(remembered["_wrong"]) <= TOTAL_LIMIT + MAX_TRUSTED
    clock.now += WINDOW
    assert guesses.wait("192.0.2.1") == 0
    assert len(remembered["_wrong"]) == 0


def test_a_refusal_is_logged_once_per_window(guesses: Guesses, clock: Clock) -> None:
    assert [guesses.should_log(), guesses.should_log()] == [True, False]
    clock.now += WINDOW
    assert guesses.should_log()
