"""Parts of HTTP/1.1 messages, and what the services answer to a malformed one."""

from tests.raw_http import Answer

LIMIT = 65_536
MIB = 1024 * 1024
NEXT = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: smuggled\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def ends_with(answers: list[Answer], status: int) -> bool:
    """Return True if there is exactly one response, a problem, with `Connection: close`."""
    (only,) = answers
    return (only.status, only.headers.get("connection"), only.headers["content-type"]) == (
        status,
        "close",
        "application/problem+json",
    )
