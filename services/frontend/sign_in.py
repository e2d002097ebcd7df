"""Operator sign-in with a password, or a short-lived single-use code derived from it."""

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
from services.frontend.metrics import sign_ins
from services.frontend.revocations import Revocations

MAX_CODE_LENGTH = 256  # characters

log = structlog.get_logger()


class NotSignedIn(Refusal):
    slug, status, title = "not-signed-in", 401, "Sign in first"


class SignIn:
    """Verifies `password`, and codes: `<end in seconds since 1970>-<a number>-<a keyed hash of both>`."""

    def __init__(
        self,
        password: str,
        revocations: Revocations,
        guesses: Guesses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._password = password
        self._revocations = revocations
        self._guesses = guesses or Guesses()
        self._clock = clock

    async def verify(self, given: str, address: str) -> bool:
        """Return whether `given` is the password, or a code that has not ended and was not used before.

        Raises RateLimited after too many wrong attempts from `address`, or from all addresses. A valid code is accepted
        even then.
        """
        given = given.strip()
        ends = self._code_ends(given)
        if ends is not None and ends > self._clock() and await self._revocations.use_code(given, ends):
            self._accept(address)
            return True
        self._require_allowed(address)
        if ends is None and hmac.compare_digest(_bytes(self._password), _bytes(given)):
            self._accept(address)
            return True
        self._guesses.wrong(address)
        sign_ins("refused").inc()
        log.warning("sign-in refused", address=address, why="used or ended code" if ends else "wrong password")
        return False

    def _accept(self, address: str) -> None:
        self._guesses.right(address)
        sign_ins("opened").inc()
        log.info("signed in", address=address)

    def _require_allowed(self, address: str) -> None:
        wait = self._guesses.wait(address)
        if not wait:
            return
        sign_ins("limited").inc()
        if self._guesses.should_log():
            log.warning("sign-in limited", address=address, seconds=wait)
        raise RateLimited("Too many wrong passwords. A link from valerix dashboard works immediately", retry_after=wait)

    def _code_ends(self, given: str) -> int | None:
        """Return the end of a genuine code, in seconds since 1970; None for anything else."""
        payload, _, signature = given.rpartition("-")
        ends = payload.partition("-")[0]
        is_formed = len(given) <= MAX_CODE_LENGTH and ends.isascii() and ends.isdecimal()
        if not is_formed or not hmac.compare_digest(_bytes(self._signature(payload)), _bytes(signature)):
            return None
        return int(ends)

    def _signature(self, payload: str) -> str:
        purpose = b"valerix dashboard sign-in " + _bytes(payload)
        return hmac.digest(self._password.encode(), purpose, hashlib.sha256).hex()[:32]


def key_of(password: str) -> bytes:
    """Derive 32 bytes from the password, the same after each start.

    Guests get cookies signed with them, against which passwords could be tried offline: each attempt costs a scrypt (16
    MiB, about 50 ms).
    """
    return hashlib.scrypt(password.encode(), salt=b"valerix dashboard sessions", n=2**14, r=8, p=1, dklen=32)


async def sign_in_required(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: require a signed-in operator. Raises NotSignedIn."""
    if not sessions.get(connection).is_operator:
        raise NotSignedIn("Only operators may do that")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
