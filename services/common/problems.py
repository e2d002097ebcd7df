"""Errors as RFC 9457 problem documents, made in one place.

Refusal                       a well-understood no: becomes its problem document
├── (one class per reason, beside the domain that refuses)
├── NotFound, Unauthorized, Forbidden, RateLimited
└── DatabaseUnavailable
anything else                 a bug: 500 `internal-error` with the request id, logged with its traceback
"""

from typing import Any, ClassVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from services.common import context
from services.common.postgres import OUTAGES

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"


class Refusal(Exception):  # noqa: N818 - named for the reason, as the house does
    """A well-understood no. Subclasses are the reasons; `members` are its machine-readable facts."""

    slug: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Refused"

    def __init__(self, detail: str, *, retry_after: int | None = None, **members: Any) -> None:
        """`retry_after` in seconds becomes the Retry-After header."""
        super().__init__(detail)
        self.detail = detail
        self.members = members
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


class Problem(msgspec.Struct, frozen=True):
    """A problem document. Members beyond these are facts of the one problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


class NotFound(Refusal):
    slug, status, title = "not-found", 404, "Not found"


class Unauthorized(Refusal):
    slug, status, title = "unauthorized", 401, "A valid token is needed"


class Forbidden(Refusal):
    slug, status, title = "forbidden", 403, "This token may not do that"


class RateLimited(Refusal):
    slug, status, title = "rate-limited", 429, "Too many requests"


class InvalidBody(Refusal):
    slug, status, title = "invalid-body", 422, "The body is not what this endpoint takes"


class UnsupportedMediaType(Refusal):
    slug, status, title = "unsupported-media-type", 415, "Unsupported media type"


class DatabaseUnavailable(Refusal):
    slug, status, title = "database-unavailable", 503, "The database does not answer"


def document(
    status: int,
    slug: str,
    title: str,
    detail: str,
    members: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Build the response that carries one problem."""
    sent = dict(headers or {})
    if status == 401:  # noqa: PLR2004 - RFC 9110 wants the scheme named with each 401
        sent["WWW-Authenticate"] = 'Bearer realm="valerix"'
    request_id = context.request_id.get()
    body = {
        "type": f"urn:valerix:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:valerix:request:{request_id}",
        "request_id": request_id,
        **(members or {}),
    }
    return Response(msgspec.json.encode(body), status_code=status, headers=sent, media_type=PROBLEM_JSON)


def of_refusal(_: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    return document(refusal.status, refusal.slug, refusal.title, refusal.detail, refusal.members, refusal.headers)


def of_outage(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.warning("database unavailable", error=repr(error))
    return of_refusal(
        request, DatabaseUnavailable("Try again in a moment; with the same key if it is an order", retry_after=1)
    )


_BY_STATUS = {
    400: ("invalid-request", "The request is malformed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "The body is too large"),
}


def of_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Map what Litestar itself refuses. A body it cannot decode is 422 `invalid-body`."""
    if isinstance(error.__cause__, SerializationException) or _is_about_body(error):
        return of_refusal(request, InvalidBody(_first_message(error)))
    if error.status_code not in _BY_STATUS:
        return of_bug(request, error)
    slug, title = _BY_STATUS[error.status_code]
    return document(error.status_code, slug, title, _first_message(error), headers=error.headers)


def of_bug(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("unhandled error", exc_info=error)
    return document(500, "internal-error", "A bug on our side", "The request id finds it in the log.")


def _is_about_body(error: HTTPException) -> bool:
    extra = error.extra if isinstance(error.extra, list) else []
    return isinstance(error, ValidationException) and any(
        isinstance(fault, dict) and fault.get("source", "body") == "body" for fault in extra
    )


def _first_message(error: HTTPException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    for fault in extra:
        if isinstance(fault, dict) and fault.get("message"):
            return f"{fault['key']}: {fault['message']}" if fault.get("key") else str(fault["message"])
    return str(error.detail)


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    Refusal: of_refusal,
    HTTPException: of_http_exception,
    **dict.fromkeys(OUTAGES, of_outage),
    Exception: of_bug,
}
