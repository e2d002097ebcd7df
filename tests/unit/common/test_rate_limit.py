"""The client that a request counts for."""

from typing import Any

import pytest
from litestar.connection import ASGIConnection
from litestar.routes import HTTPRoute

from services.common.rate_limit import LOCAL_CLIENTS, LocalRateLimit, client_address, limited, public
from services.common.refusals import RateLimited
from services.frontend.sign_in import sign_in_required
from tests.unit.common.services import Endpoint, application, build, endpoints


def asked_by(peer: str | None, *forwarded: str) -> ASGIConnection[Any, Any, Any, Any]:
    """Return a request from a socket peer, with these X-Forwarded-For lines."""
    scope: Any = {
        "type": "http",
        "headers": [(b"x-forwarded-for", line.encode()) for line in forwarded],
        "client": None if peer is None else (peer, 50_000),
    }
    return ASGIConnection(scope)


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (0, [], "10.0.0.9"),
        (0, ["1.1.1.1"], "10.0.0.9"),
        (0, ["1.1.1.1, 2.2.2.2"], "10.0.0.9"),
        (1, [], "10.0.0.9"),
        (1, [""], "10.0.0.9"),
        (1, [" , "], "10.0.0.9"),
        (1, ["1.1.1.1"], "1.1.1.1"),
        (1, ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        (1, ["6.6.6.6,1.1.1.1 "], "1.1.1.1"),
        (2, ["6.6.6.6, 1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        (2, ["1.1.1.1"], "1.1.1.1"),
        (1, ["2001:db8::1"], "2001:db8::1"),
        (1, ["2001:DB8:0:0::1"], "2001:db8::1"),
        (1, ["[2001:db8::1]:50123"], "2001:db8::1"),
        (1, ["1.1.1.1:50123"], "1.1.1.1"),
        (1, ["::ffff:1.1.1.1"], "1.1.1.1"),
        (1, ["unknown"], "10.0.0.9"),
        (1, ["1.1.1.1, unknown"], "10.0.0.9"),
        (1, ["1.1.1.1, 1.1.1"], "10.0.0.9"),
        (2, ["evil, 2.2.2.2"], "10.0.0.9"),
        (1, ["1.1.1.1", "_secret"], "10.0.0.9"),
    ],
)
def test_the_client_is_the_peer_or_the_address_seen_by_the_outermost_trusted_proxy(
    hops: int, forwarded: list[str], expected: str
) -> None:
    assert client_address(asked_by("10.0.0.9", *forwarded), hops) == expected


def test_a_header_line_added_by_the_proxy_overrides_that_of_the_client() -> None:
    """Some proxies append to the header, others add a second one (RFC 9110, 5.3: both mean one list)."""
    assert client_address(asked_by("10.0.0.9", "6.6.6.6", "1.1.1.1"), 1) == "1.1.1.1"
    assert client_address(asked_by("10.0.0.9", "6.6.6.6, 7.7.7.7", "1.1.1.1", "2.2.2.2"), 2) == "1.1.1.1"


async def test_a_local_limit_counts_per_client_and_minute() -> None:
    now = 120.0
    limit = LocalRateLimit(3, 0, clock=lambda: now)
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "10.0.0.1"):
        await limit.spend(asked_by(address))
    with pytest.raises(RateLimited) as refused:
        await limit.spend(asked_by("2001:db8::4"))
    assert refused.value.headers == {"Retry-After": "60"}
    await limit.spend(asked_by("10.0.0.1"))
    now = 180.0
    await limit.spend(asked_by("2001:db8::4"))


async def test_a_local_limit_remembers_a_bounded_number_of_clients() -> None:
    limit = LocalRateLimit(1, 0, clock=lambda: 0.0)
    for number in range(LOCAL_CLIENTS):
        await limit.spend(asked_by(f"10.0.{number // 256}.{number % 256}"))
    await limit.spend(asked_by("192.0.2.1"))
    with pytest.raises(RateLimited):
        await limit.spend(asked_by("192.0.2.2"))  # counts together with all later clients


EXEMPT = {
    "/metrics": "not published, and Prometheus has to see a service that is busy",
    "/health": "one examination a second, whoever asks",
    "/health/live": "says what it knows already",
    "/health/ready": "one examination a second, whoever asks",
    "/health/deep": "one examination a second, whoever asks",
    "/schema": "made once",
    "/schema/openapi.json": "made once",
    "/schema/{path}": "says 404",
    "/": "rendered once a second for all",
    "/feed": "rendered once a second for all; connections have a limit of their own",
    "/sign-in": "asks no service; wrong guesses have a limit of their own",
    "/sign-out": "asks no service",
}


@pytest.mark.parametrize("endpoint", endpoints(), ids=str)
def test_every_endpoint_is_limited_protected_or_exempt_for_a_reason(endpoint: Endpoint) -> None:
    [handler] = [
        handlers[method][0]
        for handlers in (
            route.route_handler_map
            for route in application(build(endpoint.service)).routes
            if isinstance(route, HTTPRoute) and route.path_format == endpoint.template
        )
        for method in handlers
        if method == endpoint.method
    ]
    protect = {public, limited, sign_in_required}
    is_protected = any(guard in protect or guard.__qualname__.startswith("only.") for guard in handler.resolve_guards())
    exempt = endpoint.template in EXEMPT or endpoint.template.startswith("/assets/")
    assert is_protected != exempt


def test_requests_without_a_peer_share_one_limit() -> None:
    assert client_address(asked_by(None), 0) == "unknown"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("::ffff:10.0.0.9", "10.0.0.9"), ("2001:0db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_a_peer_has_one_spelling(peer: str, expected: str) -> None:
    assert client_address(asked_by(peer), 0) == expected
    assert client_address(asked_by(peer, "not an address"), 1) == expected
