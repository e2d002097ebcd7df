"""Requests to an API server, retried while it is busy or unavailable. An error response raises ApiError."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from valerix_cli.cluster.objects import Object
from valerix_cli.errors import CliError, GuardError, UnreachableError
from valerix_cli.reasons import why

LIMIT = 15.0  # seconds per request
PATIENCE = 30.0
"""Seconds for which requests are retried if a server that has responded before does not."""
_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each retry; the last one applies to all further ones."""
_BUSY = 429
_ERROR, _UNAVAILABLE = 500, frozenset({502, 503, 504})
"""The server is starting, stopping, or without its store; the request may have been carried out nevertheless."""
_PASSING = (b"etcdserver", b"failed to allocate a serviceIP")
"""Transient internal errors: the store has no leader; the allocator of addresses has just started."""
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED, _CONFLICT, _INVALID = 401, 403, 404, 405, 409, 422


class ApiError(CliError):
    """An error response of the API server. `status` is the HTTP status; `causes` are the errors by field."""

    def __init__(self, what: str, why: str, hint: str, *, status: int, causes: Sequence[Object] = ()) -> None:
        super().__init__(what, why, hint)
        self.status = status
        self.causes = causes

    @property
    def is_absent(self) -> bool:
        """True if the object, or its kind, does not exist."""
        return self.status in {_NOT_FOUND, _NOT_ALLOWED}

    @property
    def is_conflict(self) -> bool:
        """True if another manager owns one of the fields."""
        return self.status == _CONFLICT and any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)

    @property
    def is_invalid(self) -> bool:
        return self.status == _INVALID

    @property
    def is_outdated(self) -> bool:
        """True if the object exists already, or has changed since it was read."""
        return self.status == _CONFLICT and not self.is_conflict


class ForbiddenError(GuardError):
    """The user is authenticated, but lacks the permission."""


@dataclass
class Transport:
    """The connection to one API server. `client`: of the `kubernetes` package, which has loaded the credentials."""

    client: Any
    limit: float = LIMIT
    patience: float = PATIENCE
    log: Callable[[str], None] = field(default=lambda _: None)
    """Called when a request is retried."""
    _answered: bool = False
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _time: tuple[datetime, float] | None = None
    """The last time of the server's clock, and the local monotonic time then."""

    @property
    def server(self) -> str:
        return str(self.client.configuration.host)

    def cancel(self) -> None:
        """Stop retrying, since a user waits for the command to end."""
        self._cancelled.set()

    def now(self) -> datetime:
        """Return the time of the server's clock, within about a second."""
        if self._time is None:
            self.send("GET", "/version")
        server_time, then = self._time or (datetime.now(UTC), time.monotonic())
        return server_time + timedelta(seconds=time.monotonic() - then)

    def send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        about: str | None = None,
        repeatable: bool | None = None,
    ) -> bytes:
        """Send a request. `repeatable`: a repeat has no further effect; by default True for all methods but POST."""
        address = f"{self.server}{path}"
        url = f"{address}?{urlencode(query)}" if query else address
        # the package expects text for content types that do not end in `json`
        sent = body if content_type.endswith("json") else json.dumps(body)

        def ask() -> tuple[int, bytes]:
            headers = {"Accept": accept, "Content-Type": content_type, **self.authorization()}
            return self._ask(method, url, headers, sent)

        status, content = self._persistently(ask, repeatable=method != "POST" if repeatable is None else repeatable)
        if status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise _refused(status, content, f"{method} {path}", about)
        return content

    def _persistently(self, ask: Callable[[], tuple[int, bytes]], *, repeatable: bool) -> tuple[int, bytes]:
        """Retry while the server is busy; repeatable requests also if it is unavailable after an earlier response."""
        deadline = time.monotonic() + self.patience
        pauses = itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))
        while True:
            pause = next(pauses)
            last = self._cancelled.is_set() or time.monotonic() + pause > deadline
            try:
                status, content = ask()
            except UnreachableError as error:
                if last or not (repeatable and self._answered):
                    raise
                trouble = error.why
            else:
                self._answered = True
                if last or not (status == _BUSY or (repeatable and _is_unavailable(status, content))):
                    return status, content
                trouble = f"it answers {status}"
            if pause >= _PAUSES[-2]:
                self.log(f"the API server is not available, trying again: {trouble}")
            self._cancelled.wait(pause)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: Any) -> tuple[int, bytes]:
        """Send a request once. Raises UnreachableError."""
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - slow to import
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the same

        rest = self.client.rest_client
        try:
            answer = rest.request(method, url, headers=headers, body=body, _request_timeout=self.limit)
            if date := answer.getheader("Date"):
                self._time = parsedate_to_datetime(date), time.monotonic()
            return answer.status, bytes(answer.read())
        except (ApiException, HTTPError, OSError) as error:
            raise UnreachableError(
                "The cluster is unreachable.",
                f"{self.server}: {why(error)}",
                "valerix cluster check; kubectl cluster-info",
            ) from error

    def authorization(self) -> dict[str, str]:
        """Return the authorization header, if any; its token may change between requests."""
        known = self.client.configuration.auth_settings().get("BearerToken")
        return {"authorization": known["value"]} if known and known.get("value") else {}


def _is_unavailable(status: int, content: bytes) -> bool:
    return status in _UNAVAILABLE or (status == _ERROR and any(words in content for words in _PASSING))


def _refused(status: int, content: bytes, requested: str, about: str | None) -> CliError:
    try:
        status_object = json.loads(content)
    except ValueError:
        status_object = {}
    message = str(status_object.get("message") or content.decode(errors="replace").strip() or f"HTTP {status}")
    causes = (status_object.get("details") or {}).get("causes") or ()
    what = f"{about or requested} was refused."
    if status == _UNAUTHORIZED:
        return GuardError(
            "The cluster does not accept these credentials.", message, "log in again; kubectl auth whoami"
        )
    if status == _FORBIDDEN and "forbidden: User" in message:
        return ForbiddenError(what, message, "valerix cluster check prints the Role that would grant what is missing")
    return ApiError(what, message, "valerix cluster diff", status=status, causes=causes)
