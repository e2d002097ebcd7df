"""Browser sessions, each stored in one signed cookie.

The cookie contains the session data and a keyed hash, so every replica can read it. Signed-out operator sessions are in
`revocations`. A form token is a keyed hash of the session id: it is valid in that session only, and signing in starts a
new session.
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

from services.frontend.revocations import Revocations

SESSION_SECONDS = 43_200
"""Lifetime of a session in seconds, independent of its use."""
CLOCK_SKEW = 60  # seconds by which the clocks of two replicas may differ
MAX_COOKIE_BYTES = 3_800  # browsers accept 4,096 with name and attributes
MAX_COOKIES = 16  # cookies of this name that are read from one request


class SessionData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cookie's content: `ends` in seconds since 1970; `generation` only in an operator's (see Revocations)."""

    id: str
    ends: int
    generation: str | None
    data: dict[str, Any]


class Session:
    """The session of one browser: whether it is an operator's, and data for the next page.

    A guest's session only ties a form to its browser, so it is not stored until a form is shown.
    """

    def __init__(self, content: SessionData, form_token: str, *, is_stored: bool) -> None:
        self.id, self.ends, self.generation = content.id, content.ends, content.generation
        self.data = dict(content.data)
        self.form_token = form_token
        self.was_stored = self.is_stored = is_stored

    @property
    def is_operator(self) -> bool:
        return self.generation is not None

    def end(self) -> None:
        """Remove the session from the browser with the response."""
        self.is_stored = False

    def content(self) -> SessionData:
        """Return the content of the session's cookie."""
        return SessionData(self.id, self.ends, self.generation, dict(self.data))


class Sessions:
    """Reads and writes session cookies. `key` is 32 secret bytes.

    The cookie's name is derived from the key, not from a port or host: it is the same at each replica and behind any
    proxy, and differs from that of another platform on this machine or of an earlier password.
    """

    def __init__(
        self, key: bytes, revocations: Revocations, *, is_secure: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._cookie_key, self._form_key = (hmac.digest(key, part, hashlib.sha256) for part in (b"cookies", b"forms"))
        self.revocations = revocations
        self._clock = clock
        name = f"valerix-{hmac.digest(key, b'name', hashlib.sha256).hex()[:8]}"
        self.name = (f"__Host-{name}" if is_secure else name).encode()
        self._attributes = b"; Path=/; HttpOnly; SameSite=Strict" + (b"; Secure" if is_secure else b"")

    def new(self, *, operator: bool = False) -> Session:
        """Return a new session. An operator's is stored with the response."""
        generation = self.revocations.generation if operator else None
        return self._session(
            SessionData(secrets.token_urlsafe(18), int(self._clock()) + SESSION_SECONDS, generation, {}),
            is_stored=operator,
        )

    def store_for_form(self, session: Session) -> None:
        """Store a guest's session in the browser, because a form is shown."""
        if not session.is_operator:
            session.ends = int(self._clock()) + SESSION_SECONDS
            session.is_stored = True

    def read(self, header_lines: list[bytes]) -> Session | None:
        """Return the session in the Cookie headers: an operator's if there is one, else a guest's, else None."""
        found = [session for raw in self._values(header_lines) if (session := self._decode(raw)) is not None]
        return max(found, key=lambda session: session.is_operator, default=None)

    def set_cookie(self, session: Session) -> bytes:
        """Return the Set-Cookie header that stores the session."""
        raw = self._encode(session.content())
        if len(raw) > MAX_COOKIE_BYTES:
            raw = self._encode(msgspec.structs.replace(session.content(), data={}))
        max_age = max(0, session.ends - int(self._clock()))
        return b"%s=%s%s; Max-Age=%d" % (self.name, raw, self._attributes, max_age)

    def clear_cookie(self) -> bytes:
        """Return the Set-Cookie header that deletes the session."""
        return b"%s=%s; Max-Age=0" % (self.name, self._attributes)

    def has_cookie(self, header_lines: list[bytes]) -> bool:
        """Return whether the Cookie headers contain a cookie of this name."""
        return bool(self._values(header_lines))

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Load the session of each request, and set the cookie if the session has changed."""

        async def with_session(scope: Scope, receive: Receive, send: Send) -> None:
            lines = [value for name, value in scope["headers"] if name == b"cookie"]
            session = self.read(lines) or self.new()
            before = session.content()
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

    def _cookie(self, before: SessionData, found: Session, now: Session, lines: list[bytes]) -> bytes | None:
        """Return the Set-Cookie header to send, if any. An unusable cookie is cleared."""
        if now.is_stored:
            is_known = found.was_stored and now.content() == before and len(self._values(lines)) == 1
            return None if is_known else self.set_cookie(now)
        return self.clear_cookie() if self.has_cookie(lines) else None

    def _values(self, header_lines: list[bytes]) -> list[bytes]:
        pairs = [part.strip().partition(b"=") for line in header_lines for part in line.split(b";")]
        return [value.strip() for name, _, value in pairs if name.strip() == self.name][:MAX_COOKIES]

    def _session(self, content: SessionData, *, is_stored: bool) -> Session:
        token = hmac.digest(self._form_key, content.id.encode(), hashlib.sha256).hex()
        return Session(content, token, is_stored=is_stored)

    def _encode(self, content: SessionData) -> bytes:
        payload = base64.urlsafe_b64encode(msgspec.json.encode(content))
        return payload + b"." + self._signature(payload)

    def _signature(self, payload: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.digest(self._cookie_key, payload, hashlib.sha256))

    def _decode(self, raw: bytes) -> Session | None:
        """Return the session of a cookie if its signature is valid and it has not ended or been revoked."""
        payload, _, signature = raw.partition(b".")
        if len(raw) > MAX_COOKIE_BYTES or not hmac.compare_digest(self._signature(payload), signature):
            return None
        try:
            content = msgspec.json.decode(base64.urlsafe_b64decode(payload), type=SessionData)
        except (binascii.Error, msgspec.DecodeError):  # written by another version
            return None
        remaining = content.ends - self._clock()
        if not 0 < remaining <= SESSION_SECONDS + CLOCK_SKEW:  # or created while a clock was wrong
            return None
        if content.generation is not None and not self.revocations.accepts(content.generation, content.id):
            return None
        return self._session(content, is_stored=True)


def _is_private(message: HTTPResponseStartEvent) -> bool:
    """Return whether the response is not cacheable; a cached cookie would be shared with others."""
    return any(name == b"cache-control" and b"no-store" in value for name, value in message["headers"])


def get(connection: ASGIConnection[Any, Any, Any, Any]) -> Session:
    """Return the session of a request."""
    return cast("Session", connection.scope["session"])


def set_session(connection: ASGIConnection[Any, Any, Any, Any], session: Session) -> None:
    """Replace the session of a request; the response stores it."""
    connection.scope["session"] = cast("Any", session)
