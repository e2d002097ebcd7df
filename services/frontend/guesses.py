"""Limits wrong passwords, per address and in total. Counts in this process, by a monotonic clock. Pure."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from services.common.addresses import network_of

WINDOW = 60.0  # seconds
ADDRESS_LIMIT = 5  # wrong passwords per window
TOTAL_LIMIT = 50  # the same, over all addresses
MAX_TRUSTED = 1_000  # addresses kept because a sign-in from them succeeded


class Guesses:
    """Counts the wrong passwords of the last minute.

    An address that has signed in before has only its own limit, so an attacker who exhausts the total limit does not
    lock out operators.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: deque[tuple[float, str]] = deque()
        self._trusted: OrderedDict[str, None] = OrderedDict()
        self._logged_at = -math.inf

    def wait(self, address: str) -> int:
        """Return the seconds until this address may try again; 0 if it may now."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - WINDOW:
            self._wrong.popleft()
        network = network_of(address)
        own = [at for at, source in self._wrong if source == network]
        if len(own) >= ADDRESS_LIMIT:
            return self._seconds_until(own[-ADDRESS_LIMIT], now)
        if len(self._wrong) >= TOTAL_LIMIT and network not in self._trusted:
            return self._seconds_until(self._wrong[-TOTAL_LIMIT][0], now)
        return 0

    def wrong(self, address: str) -> None:
        """Count a wrong password."""
        self._wrong.append((self._clock(), network_of(address)))
        while len(self._wrong) > TOTAL_LIMIT + MAX_TRUSTED:
            self._wrong.popleft()

    def right(self, address: str) -> None:
        """Record an address that has signed in."""
        network = network_of(address)
        self._trusted[network] = None
        self._trusted.move_to_end(network)
        while len(self._trusted) > MAX_TRUSTED:
            self._trusted.popitem(last=False)

    def should_log(self) -> bool:
        """Return whether to log a refusal: once per window, since an attacker decides how many there are."""
        now = self._clock()
        if now - self._logged_at < WINDOW:
            return False
        self._logged_at = now
        return True

    @staticmethod
    def _seconds_until(at: float, now: float) -> int:
        return max(1, math.ceil(at + WINDOW - now))
