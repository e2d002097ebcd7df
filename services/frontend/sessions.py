"""Sessions of browsers, each in one cookie that only this dashboard can make.

The cookie carries the session itself and a keyed hash of it, so every replica can read it. Whether an operator's
session was signed out since is the ledger's to know. A form's token is a keyed hash of the session's id: it is good in
that session alone, and signing in begins another one.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from services.frontend.ledger import Ledger

LASTS = 43_200
"""Seconds from signing in to the end of a session, however much it is used."""
SKEW = 60  # seconds by which the clocks of two replicas may differ
ROOM = 3_800  # bytes of a cookie: browsers take 4,096 with its name and attributes
COOKIES = 16  # cookies of our name that one request is searched for


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the cookie says: `ends` in seconds since 1970, `generation` only of an operator's session (see Ledger)."""

    id: str
    ends: int
    generation: str | None
    kept: dict[str, Any]


class Session:
    """One browser's session: whether it is an operator's, and what is kept for the next page.

    A guest's session exists only to tie a form to its browser, so it is not stored until a form is shown.
    """

    def __init__(self, sealed: Sealed, form_token: str, *, is_stored: bool) -> None:
        self.id, self.ends, self.generation = sealed.id, sealed.ends, sealed.generation
        self.kept = dict(sealed.kept)
        self.form_token = form_token
        self.was_stored = self.is_stored = is_stored

    @property
    def is_operator(self) -> bool:
        return self.generation is not None

    def end(self) -> None:
        """Have the browser forget this session."""
        self.is_stored = False

    def sealed(self) -> Sealed:
        return Sealed(self.id, self.ends, self.generation, dict(self.kept))


class Sessions:
    """Reads and writes the cookies. `key` is 32 bytes that nobody else has.

    The cookie's name comes from the key, not from a port or a host: it is the same at each replica and behind any
    proxy, and that of another platform on this machine, or of a password that was changed, is another cookie.
    """

    def __init__(self, key: bytes, ledger: Ledger, *, is_secure: bool, clock: Callable[[], float] = time.time) -> None:
        self._sealing, self._tying = (hmac.digest(key, part, hashlib.sha256) for part in (b"cookies", b"forms"))
        self.ledger = ledger
        self._clock = clock
        name = f"valerix-{hmac.digest(key, b'name', hashlib.sha256).hex()[:8]}"
        self.name = (f"__Host-{name}" if is_secure else name).encode()
        self._attributes = b"; Path=/; HttpOnly; SameSite=Strict" + (b"; Secure" if is_secure else b"")

    def new(self, *, operator: bool = False) -> Session:
        """Return a session with an id of its own. One of an operator is stored."""
        generation = self.ledger.generation if operator else None
        return self._session(
            Sealed(secrets.token_urlsafe(18), int(self._clock()) + LASTS, generation, {}), is_stored=operator
        )

    def show_form(self, session: Session) -> None:
        """Have the browser of a guest keep the session, for as long as any lasts, since a form is shown."""
        if not session.is_operator:
            session.ends = int(self._clock()) + LASTS
            session.is_stored = True

    def read(self, header_lines: list[bytes]) -> Session | None:
        """Return the session in the Cookie headers: an operator's if there is one, else a guest's, else None."""
        found = [session for raw in self._values(header_lines) if (session := self._open(raw)) is not None]
        return max(found, key=lambda session: session.is_operator, default=None)

    def set_cookie(self, session: Session) -> bytes:
        """Return the Set-Cookie header that stores the session."""
        raw = self._seal(session.sealed())
        if len(raw) > ROOM:
            raw = self._seal(msgspec.structs.replace(session.sealed(), kept={}))
        lasts = max(0, session.ends - int(self._clock()))
        return b"%s=%s%s; Max-Age=%d" % (self.name, raw, self._attributes, lasts)

    def clear_cookie(self) -> bytes:
        return b"%s=%s; Max-Age=0" % (self.name, self._attributes)

    def has_cookie(self, header_lines: list[bytes]) -> bool:
        return bool(self._values(header_lines))

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Give each request its session, and the browser a cookie if the session has changed."""

        async def with_session(scope: Scope, receive: Receive, send: Send) -> None:
            lines = [value for name, value in scope["headers"] if name == b"cookie"]
            session = self.read(lines) or self.new()
            before = session.sealed()
            scope["session"] = cast("Any", session)

            async def send_with_cookie(message: Message) -> None:
                if message["type"] == "http.response.start" and _is_private(message):
                    now = cast("Session", scope["session"])
                    cookie = self._cookie(before, session, now, lines)
                    if cookie is not None:
                        message["headers"] = [*message["headers"], (b"set-cookie", cookie)]
                await send(message)

            await app(scope, receive, send_with_cookie)

        return with_session

    def _cookie(self, before: Sealed, found: Session, now: Session, lines: list[bytes]) -> bytes | None:
        """Return the Set-Cookie header that the browser needs, if any. What cannot be used is cleared."""
        if now.is_stored:
            is_known = found.was_stored and now.sealed() == before and len(self._values(lines)) == 1
            return None if is_known else self.set_cookie(now)
        return self.clear_cookie() if self.has_cookie(lines) else None

    def _values(self, header_lines: list[bytes]) -> list[bytes]:
        pairs = [part.strip().partition(b"=") for line in header_lines for part in line.split(b";")]
        return [value.strip() for name, _, value in pairs if name.strip() == self.name][:COOKIES]

    def _session(self, sealed: Sealed, *, is_stored: bool) -> Session:
        token = hmac.digest(self._tying, sealed.id.encode(), hashlib.sha256).hex()
        return Session(sealed, token, is_stored=is_stored)

    def _seal(self, sealed: Sealed) -> bytes:
        said = base64.urlsafe_b64encode(msgspec.json.encode(sealed))
        return said + b"." + self._proof(said)

    def _proof(self, said: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.digest(self._sealing, said, hashlib.sha256))

    def _open(self, raw: bytes) -> Session | None:
        """Return what a cookie says if we made it, it has not ended, and it was not signed out."""
        said, _, proof = raw.partition(b".")
        if len(raw) > ROOM or not hmac.compare_digest(self._proof(said), proof):
            return None
        try:
            sealed = msgspec.json.decode(base64.urlsafe_b64decode(said), type=Sealed)
        except (binascii.Error, msgspec.DecodeError):  # of another version of the dashboard
            return None
        left = sealed.ends - self._clock()
        if not 0 < left <= LASTS + SKEW:  # or made while a clock was wrong
            return None
        if sealed.generation is not None and not self.ledger.accepts(sealed.generation, sealed.id):
            return None
        return self._session(sealed, is_stored=True)


def _is_private(message: HTTPResponseStartEvent) -> bool:
    """Whether no cache may keep the answer: a cookie in one that others get would be theirs too."""
    return any(name == b"cache-control" and b"no-store" in value for name, value in message["headers"])


def of(connection: ASGIConnection[Any, Any, Any, Any]) -> Session:
    """Return the session of a request."""
    return cast("Session", connection.scope["session"])


def put(connection: ASGIConnection[Any, Any, Any, Any], session: Session) -> None:
    """Make `session` that of a request, so that its answer stores it."""
    connection.scope["session"] = cast("Any", session)
