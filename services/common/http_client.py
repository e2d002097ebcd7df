"""HTTP client for calls between services, by aiohttp.

Each failure is one of `REQUEST_ERRORS`; with one of `CONNECT_ERRORS`, nothing was sent. `declared_errors` ensures that:
transports and parsers raise more than aiohttp declares.
"""

import contextlib
from collections.abc import Iterator

import aiohttp

from services.common.dependencies import note_failure

KEEPALIVE_TIMEOUT = 5.0  # seconds for which an idle connection may be reused: less than the servers' keep-alive

REQUEST_ERRORS = (aiohttp.ClientError, TimeoutError)
CONNECT_ERRORS = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class UnexpectedFailure(aiohttp.ClientError):
    """The client failed in a way that its library does not declare."""


@contextlib.contextmanager
def declared_errors(dependency: str) -> Iterator[None]:
    """Convert all exceptions of the block, which uses only `dependency`, to `REQUEST_ERRORS`."""
    try:
        yield
    except REQUEST_ERRORS:
        raise
    except Exception as error:
        note_failure(dependency, "unexpected", error, with_traceback=True)
        raise UnexpectedFailure(repr(error)) from error


def open_session(*, reuse: bool = True) -> aiohttp.ClientSession:
    """Return a client that adds nothing to requests: no cookies, no default headers, no proxies.

    It limits neither time nor connections; callers do. Names are resolved for each connection. Without `reuse` each
    request opens a connection, so no request waits for a dead idle connection.
    """
    if reuse:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_TIMEOUT, use_dns_cache=False)
    else:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        trust_env=False,
    )
