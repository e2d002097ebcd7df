"""Who may act: an operator shows a password, or a code that was made from it and works once, for minutes."""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.common.refusals import RateLimited, Refusal
from services.frontend import sessions
from services.frontend.guesses import Guesses
from services.frontend.ledger import Ledger
from services.frontend.metrics import sign_ins

LONGEST = 256  # characters that are looked at

log = structlog.get_logger()


class NotSignedIn(Refusal):
    slug, status, title = "not-signed-in", 401, "Sign in first"


class Door:
    """Opens for `password`, and for a code: `<seconds since 1970 when it ends>-<a number>-<a keyed hash of both>`."""

    def __init__(
        self, password: str, ledger: Ledger, guesses: Guesses | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._password = password
        self._ledger = ledger
        self._guesses = guesses or Guesses()
        self._clock = clock

    async def opens_for(self, given: str, address: str) -> bool:
        """Whether `given` is the password, or a code that has not ended and was not used before.

        Raises RateLimited where too many wrong ones came from `address`, or from everywhere. A genuine code is no
        guess: it opens even then.
        """
        given = given.strip()
        ends = self._code_ends(given)
        if ends is not None and ends > self._clock() and await self._ledger.use_code(given, ends):
            self._opened(address)
            return True
        self._insist_on_patience(address)
        if ends is None and hmac.compare_digest(_bytes(self._password), _bytes(given)):
            self._opened(address)
            return True
        self._guesses.wrong(address)
        sign_ins("refused").inc()
        log.warning("sign-in refused", address=address, why="used or ended code" if ends else "wrong password")
        return False

    def _opened(self, address: str) -> None:
        self._guesses.right(address)
        sign_ins("opened").inc()
        log.info("signed in", address=address)

    def _insist_on_patience(self, address: str) -> None:
        wait = self._guesses.wait(address)
        if not wait:
            return
        sign_ins("limited").inc()
        if self._guesses.is_news():
            log.warning("sign-in limited", address=address, seconds=wait)
        raise RateLimited("Too many wrong passwords. A link of valerix dashboard works at once", retry_after=wait)

    def _code_ends(self, given: str) -> int | None:
        """Return when a code that was made from the password ends, in seconds since 1970; None for anything else."""
        said, _, proof = given.rpartition("-")
        ends = said.partition("-")[0]
        is_formed = len(given) <= LONGEST and ends.isascii() and ends.isdecimal()
        if not is_formed or not hmac.compare_digest(_bytes(self._proof(said)), _bytes(proof)):
            return None
        return int(ends)

    def _proof(self, said: str) -> str:
        purpose = b"valerix dashboard sign-in " + _bytes(said)
        return hmac.digest(self._password.encode(), purpose, hashlib.sha256).hex()[:32]


def key_of(password: str) -> bytes:
    """Return 32 bytes that only who knows the password can make, the same after each start.

    Guests get cookies that were made with it, by which guesses could be tried without asking us: each costs a scrypt
    (16 MiB, some 50 ms).
    """
    return hashlib.scrypt(password.encode(), salt=b"valerix dashboard sessions", n=2**14, r=8, p=1, dklen=32)


async def signed_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: only for operators."""
    if not sessions.of(connection).is_operator:
        raise NotSignedIn("Only operators may do that")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
