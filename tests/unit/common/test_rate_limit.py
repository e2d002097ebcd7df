"""Whose minute a request is taken from."""

from typing import Any

import pytest
from litestar.connection import ASGIConnection

from services.common.rate_limit import client_address


def asked_by(peer: str | None, *forwarded: str) -> ASGIConnection[Any, Any, Any, Any]:
    """A request from a socket peer, with X-Forwarded-For lines as they came."""
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
def test_the_client_is_the_socket_peer_or_whom_the_outermost_trusted_proxy_saw(
    hops: int, forwarded: list[str], expected: str
) -> None:
    assert client_address(asked_by("10.0.0.9", *forwarded), hops) == expected


def test_a_proxy_that_adds_a_line_of_its_own_is_believed_over_the_line_the_client_sent() -> None:
    """Some proxies append to the header, some add a second one (RFC 9110, 5.3: both mean one list)."""
    assert client_address(asked_by("10.0.0.9", "6.6.6.6", "1.1.1.1"), 1) == "1.1.1.1"
    assert client_address(asked_by("10.0.0.9", "6.6.6.6, 7.7.7.7", "1.1.1.1", "2.2.2.2"), 2) == "1.1.1.1"


def test_without_a_peer_all_share_one_minute() -> None:
    assert client_address(asked_by(None), 0) == "unknown"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("::ffff:10.0.0.9", "10.0.0.9"), ("2001:0db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_a_peer_has_one_spelling(peer: str, expected: str) -> None:
    assert client_address(asked_by(peer), 0) == expected
    assert client_address(asked_by(peer, "not an address"), 1) == expected
