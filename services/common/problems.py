"""Converts exceptions to RFC 9457 problem documents.

A Refusal becomes its own problem; a database outage becomes a 503; any other exception is a bug and becomes a 500
`internal-error` with the request id, logged with its traceback.
"""

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, SerializationException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from services.common import methods, request_body, request_context
from services.common.connections import HELD_UP, CommitsHeldUp
from services.common.dependencies import note_failure
from services.common.mistakes import explained
from services.common.postgres import OUTAGES
from services.common.refusals import DatabaseUnavailable, InvalidBody, Refusal

log = structlog.get_logger()

AWAY = "Try again in a moment; with the same key if it is an order"
PROBLEM_JSON = "application/problem+json"


class Problem(msgspec.Struct, frozen=True):
    """A problem document. Members beyond these are facts of the one problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


_DESCRIPTIONS = {
    400: "A header or a parameter is missing or malformed.",
    401: "No token where one is needed, or one that is not in force.",
    403: "The token is of another level, or a web page of another origin asks for a change.",
    404: "There is no such thing.",
    409: "It cannot be done as things stand.",
    413: "The body is over 64 KiB.",
    415: "The body is not declared as what this endpoint takes.",
    421: "The Host header names a host that this service does not answer for.",
    422: "The body is not valid, or asks for what cannot be.",
    429: "This client has used up its requests for the minute.",
    500: "A bug on our side, or a fault that was injected on purpose.",
    503: "It cannot be done now; Retry-After says when to try again.",
}


def responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the problem responses of an endpoint for the OpenAPI document."""
    return {
        status: ResponseSpec(Problem, description=_DESCRIPTIONS[status], media_type=PROBLEM_JSON) for status in statuses
    }


def description_of(status: int) -> str:
    """Return the description of a status for the OpenAPI document."""
    return _DESCRIPTIONS[status]


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
    if status == 413:  # noqa: PLR2004 - the unread rest of the body cannot be skipped, so the connection ends
        sent["Connection"] = "close"
    request_id = request_context.request_id.get()
    body = {
        "type": f"urn:valerix:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:valerix:request:{request_id}",
        "request_id": request_id,
        **_traced(),
        **(members or {}),
    }
    return Response(msgspec.json.encode(body), status_code=status, headers=sent, media_type=PROBLEM_JSON)


def _traced() -> dict[str, str]:
    traceparent = request_context.traceparent.get()
    return {"trace_id": request_context.trace_id(traceparent)} if traceparent else {}


def from_refusal(_: Request[Any, Any, Any] | None, refusal: Refusal) -> Response[bytes]:
    return document(refusal.status, refusal.slug, refusal.title, refusal.detail, refusal.members, refusal.headers)


def from_outage(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    note_failure("postgres", type(error).__name__, error)
    detail = HELD_UP if isinstance(error, CommitsHeldUp) else AWAY
    return from_refusal(request, DatabaseUnavailable(detail, retry_after=1))


BY_STATUS = {
    400: ("invalid-request", "The request is malformed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "The body is too large"),
}


def from_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Map Litestar's own refusals. A body that it cannot decode is 422 `invalid-body`."""
    if isinstance(error.__cause__, SerializationException) or _is_about_body(error):
        return from_refusal(request, InvalidBody(_first_message(error)))
    if isinstance(error, InternalServerException) and error.detail == request_body.CLIENT_DISCONNECTED:
        return document(400, *BY_STATUS[400], "The caller left before its body had arrived")
    if error.status_code not in BY_STATUS:
        return from_unexpected(request, error)
    slug, title = BY_STATUS[error.status_code]
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    if "Allow" in headers:
        headers["Allow"] = methods.in_full(headers["Allow"])
    return document(error.status_code, slug, title, _first_message(error), headers=headers)


def from_unexpected(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("unhandled error", exc_info=error)
    return document(500, "internal-error", "A bug on our side", "The request id finds it in the log.")


def from_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Map an exception to a response by the nearest of its classes, as Litestar does."""
    kind = next(kind for kind in type(error).__mro__ if kind in EXCEPTION_HANDLERS)
    problem: Response[bytes] = EXCEPTION_HANDLERS[kind](request, error)
    return problem


def _is_about_body(error: HTTPException) -> bool:
    extra = error.extra if isinstance(error.extra, list) else []
    return isinstance(error, ValidationException) and any(
        isinstance(fault, dict) and fault.get("source", "body") == "body" for fault in extra
    )


def _first_message(error: HTTPException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    for fault in extra:
        if isinstance(fault, dict) and fault.get("message"):
            where, how = explained(str(fault["message"]))
            return f"`{fault.get('key') or where}` {how}" if fault.get("key") or where else str(fault["message"])
    return str(error.detail)


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    Refusal: from_refusal,
    HTTPException: from_http_exception,
    **dict.fromkeys(OUTAGES, from_outage),
    Exception: from_unexpected,
}
