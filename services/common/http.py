"""How a service speaks HTTP to another, by aiohttp.

What goes wrong is one of `FAILURES`; with one of `UNREACHED` nothing was sent.
"""

import aiohttp

KEPT_ALIVE = 5.0  # seconds that an idle connection may be used again: less than any server leaves it open

FAILURES = (aiohttp.ClientError, TimeoutError)
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def open_session() -> aiohttp.ClientSession:
    """A client that sends what it is told to and nothing else: no cookies, no headers of its own, no proxies.

    It limits neither time nor connections; whoever calls does. Names are looked up for each connection.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        trust_env=False,
    )
