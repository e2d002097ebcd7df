"""Refusals: expected errors, as opposed to bugs. Pure, so that domains can raise them.

Refusal
├── (one class per reason, beside the domain that refuses)
├── NotFound, Unauthorized, Forbidden, RateLimited
├── InvalidBody, UnsupportedMediaType
└── DatabaseUnavailable
"""

from typing import Any, ClassVar


class Refusal(Exception):  # noqa: N818 - named for the reason, not the error
    """An expected error. Subclasses are the reasons; `members` are extension members of the problem document."""

    slug: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Refused"

    def __init__(self, detail: str, *, retry_after: int | None = None, **members: Any) -> None:
        """`retry_after` in seconds becomes the Retry-After header."""
        super().__init__(detail)
        self.detail = detail
        self.members = members
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


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
    slug, status, title = "database-unavailable", 503, "The database is unavailable"
