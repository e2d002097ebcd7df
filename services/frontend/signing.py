"""Who may act: an operator shows a password, or a code that was made from it and works once, for minutes."""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.common.refusals import Refusal

SIGNED_IN = 43_200  # seconds that a session lasts
OPERATOR = "operator"


class NotSignedIn(Refusal):
    slug, status, title = "not-signed-in", 401, "Sign in first"


class Door:
    """Opens for `password`, and for a code: `<seconds since 1970 when it ends>-<a number>-<a keyed hash of both>`."""

    def __init__(self, password: str, clock: Callable[[], float] = time.time) -> None:
        self._password = password
        self._clock = clock
        self._used: dict[str, float] = {}

    def opens_for(self, given: str) -> bool:
        """Whether `given` is the password, or a code that has not ended and was not used before."""
        given = given.strip()
        if hmac.compare_digest(self._password.encode(), given.encode()):
            return True
        said, _, proof = given.rpartition("-")
        ends = said.partition("-")[0]
        if not ends.isdecimal() or not hmac.compare_digest(self._proof(said).encode(), proof.encode()):
            return False
        now = self._clock()
        self._used = {code: until for code, until in self._used.items() if until > now}
        if int(ends) <= now or given in self._used:
            return False
        self._used[given] = int(ends)
        return True

    def secret(self, purpose: str) -> bytes:
        """32 bytes that only those who know the password can make, the same after each start."""
        return hmac.digest(self._password.encode(), f"valerix dashboard {purpose}".encode(), hashlib.sha256)

    def _proof(self, said: str) -> str:
        return self.secret(f"sign-in {said}").hex()[:32]


async def signed_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: only for operators."""
    if not is_operator(connection):
        raise NotSignedIn("Only operators may do that")


def is_operator(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    return bool(connection.session.get(OPERATOR))
