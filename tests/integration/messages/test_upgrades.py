"""Declined upgrades: every message is framed as if none had been requested (RFC 9110, section 7.8)."""

import socket
from collections.abc import Callable
from typing import TypeAlias

import pytest

from services.common.middleware import METHODS
from tests.integration.messages.services import Role, new_id
from tests.raw_http import chunked, connected

SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: smuggled\r\n\r\n"
UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"Upgrade: TLS/1.0, anything/2\r\nConnection: keep-alive, UPGRADE\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: upgrade\r\n",
]


Framing: TypeAlias = Callable[[bytes], tuple[bytes, bytes]]  # maps a body to the fields that announce it and its bytes


def by_length(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length: %d\r\n" % len(body), body


def by_chunks(body: bytes) -> tuple[bytes, bytes]:
    return b"Transfer-Encoding: chunked\r\n", chunked(body)


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("framing", [by_length, by_chunks])
@pytest.mark.parametrize("piece", [None, 97, 1], ids=["whole", "pieces", "bytes"])
def test_a_body_after_an_upgrade_header_is_read_as_a_body(
    each: Role, upgrade: bytes, framing: Framing, piece: int | None
) -> None:
    """The effect takes place, and the following requests get their own responses."""
    fields, body = framing(each.body)
    first, second, third = new_id(), new_id(), new_id()
    with connected(each.port) as connection:
        connection.send(each.post(first, fields + upgrade, body) + each.get(second) + each.get(third), piece)
        answers = [connection.next() for _ in range(3)]
    assert [(a.status, a.request_id) for a in answers if a] == [
        (each.status, first.decode()),
        (200, second.decode()),
        (200, third.decode()),
    ]


@pytest.mark.parametrize("method", sorted(METHODS | {"PROPFIND", "TRACE", "MKCOL"}))
@pytest.mark.parametrize("framing", [by_length, by_chunks])
def test_a_request_inside_a_body_is_never_answered(each: Role, method: str, framing: Framing) -> None:
    fields, body = framing(SMUGGLED * 3)
    for upgrade in UPGRADES[:2]:
        first, second = new_id(), new_id()
        head = each.head(first, method.encode(), each.target) + fields + upgrade + b"\r\n"
        with connected(each.port) as connection:
            connection.send(head)
            connection.send(body[:40])
            connection.send(body[40:] + each.get(second))
            if method == "HEAD":
                assert b"smuggled" not in _all(connection.socket, second)
                continue
            answers = [connection.next(), connection.next()]
        assert [a.request_id for a in answers if a] == [first.decode(), second.decode()]


def test_an_upgrade_without_a_body_keeps_the_connection_open(each: Role) -> None:
    ids = [new_id() for _ in range(5)]
    with connected(each.port) as connection:
        connection.send(b"".join(each.head(one, b"GET", b"/health/live") + UPGRADES[0] + b"\r\n" for one in ids))
        answers = [connection.next() for _ in ids]
    assert [(a.status, a.request_id) for a in answers if a] == [(200, one.decode()) for one in ids]


def test_an_expect_100_continue_request_with_an_upgrade_gets_its_100(each: Role) -> None:
    first = new_id()
    framing = b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(each.body)
    with connected(each.port) as connection:
        connection.send(each.post(first, framing + UPGRADES[0]))
        if each.status < 300:  # an endpoint that does not read the body responds at once
            assert connection.socket.recv(64).startswith(b"HTTP/1.1 100 ")
            connection.send(each.body)
        answer = connection.next()
        assert answer is not None
        assert (answer.status, answer.request_id, answer.headers["connection"]) == (
            each.status,
            first.decode(),
            "close",
        )


def test_an_upgrade_is_ignored_with_http_1_0(each: Role) -> None:
    first = new_id()
    request = each.post(first, b"Content-Length: %d\r\n" % len(each.body) + UPGRADES[0], each.body)
    with connected(each.port) as connection:
        connection.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + SMUGGLED)
        answers = connection.rest()
    assert [(a.status, a.request_id) for a in answers] == [(each.status, first.decode())]


def test_connect_is_refused_and_the_following_bytes_are_not_read(each: Role) -> None:
    with connected(each.port) as connection:
        connection.send(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n" + SMUGGLED)
        answers = connection.rest()
    assert [(a.status, a.headers["connection"]) for a in answers] == [(501, "close")]


def _all(connection: socket.socket, until: bytes) -> bytes:
    got = b""
    while until not in got and (more := connection.recv(65_536)):
        got += more
    return got
