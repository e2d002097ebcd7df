"""Operator sign-in with a password, or a short-lived single-use code derived from it."""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from itsdangerous import BadSignature, URLSafeSerializer
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.common.refusals import RateLimited, Refusal
from services.frontend import sessions
from services.frontend.guesses import Guesses
from services.frontend.metrics import sign_ins
from services.frontend.revocations import Revocations

MAX_CODE_LENGTH = 256  # characters
_SALT = "valerix dashboard sign-in"
_SIGNER = {"key_derivation": "hmac", "digest_method": hashlib.sha256}

log = structlog.get_logger()


class NotSignedIn(Refusal):
    slug, status, title = "not-signed-in", 401, "Sign in first"


class _Code(NamedTuple):
    """`ends` is in seconds since 1970. Use is recorded by `id`: several spellings have the same signature in base64."""

    ends: int
    id: str


class SignIn:
    """Verifies `password`, and codes signed with it: `[<end in seconds since 1970>, <a random string>]`."""

    def __init__(
        self,
        password: str,
        revocations: Revocations,
        guesses: Guesses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._password = password
        self._codes = URLSafeSerializer(password, _SALT, signer_kwargs=_SIGNER)
        self._revocations = revocations
        self._guesses = guesses or Guesses()
        self._clock = clock

    async def verify(self, given: str, address: str) -> bool:
        """Return whether `given` is the password, or a code that has not ended and was not used before.

        Raises RateLimited after too many wrong attempts from `address`, or from all addresses. A valid code is accepted
        even then.
        """
        given = given.strip()
        code = self._code(given)
        if code is not None and code.ends > self._clock() and await self._revocations.use_code(code.id, code.ends):
            self._accept(address)
            return True
        self._require_allowed(address)
        if code is None and hmac.compare_digest(_bytes(self._password), _bytes(given)):
            self._accept(address)
            return True
        self._guesses.wrong(address)
        sign_ins("refused").inc()
        log.warning("sign-in refused", address=address, why="used or ended code" if code else "wrong password")
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

    def _code(self, given: str) -> _Code | None:
        """Return the content of a genuine code; None for anything else."""
        if len(given) > MAX_CODE_LENGTH or not given.isascii():
            return None
        try:
            return _Code(*self._codes.loads(given))
        except BadSignature:
            return None


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
