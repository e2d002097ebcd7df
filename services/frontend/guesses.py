"""Wrong passwords are limited, per address and in all. Pure: counted in this process, by a monotonic clock."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from services.common.addresses import network_of

WINDOW = 60.0  # seconds
PER_ADDRESS = 5  # wrong passwords in a window
IN_ALL = 50  # the same, over all addresses; so this is also how many are remembered
FRIENDS = 1_000  # addresses that are remembered for a sign-in that succeeded


class Guesses:
    """The wrong guesses of the last minute.

    An address from which somebody has signed in before is held to its own limit only, so whoever uses up the limit for
    all addresses does not lock out those who work with the dashboard.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: deque[tuple[float, str]] = deque()
        self._friends: OrderedDict[str, None] = OrderedDict()
        self._told_at = -math.inf

    def wait(self, address: str) -> int:
        """Return for how many seconds this address may not guess; 0 if it may."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - WINDOW:
            self._wrong.popleft()
        network = network_of(address)
        own = [at for at, guesser in self._wrong if guesser == network]
        if len(own) >= PER_ADDRESS:
            return self._until(own[-PER_ADDRESS], now)
        if len(self._wrong) >= IN_ALL and network not in self._friends:
            return self._until(self._wrong[-IN_ALL][0], now)
        return 0

    def wrong(self, address: str) -> None:
        """Count a wrong guess."""
        self._wrong.append((self._clock(), network_of(address)))
        while len(self._wrong) > IN_ALL + FRIENDS:
            self._wrong.popleft()

    def right(self, address: str) -> None:
        """Remember an address that has signed in."""
        network = network_of(address)
        self._friends[network] = None
        self._friends.move_to_end(network)
        while len(self._friends) > FRIENDS:
            self._friends.popitem(last=False)

    def is_news(self) -> bool:
        """Whether a refusal is to be logged: once in a window, since an attacker decides how many there are."""
        now = self._clock()
        if now - self._told_at < WINDOW:
            return False
        self._told_at = now
        return True

    @staticmethod
    def _until(at: float, now: float) -> int:
        return max(1, math.ceil(at + WINDOW - now))
