"""Orders on raw connections: in pieces, pipelined, aborted, and in spellings that take the framework's route."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httptools
import pytest

from tests.e2e.shop import Shop, new_key
from tests.processes import eventually

BODY = b'{"item_id":"straight","quantity":1}'
PLAIN = b"Content-Length: %d\r\n" % len(BODY)


@pytest.fixture(scope="module")
def shop(open_shop: Shop) -> Shop:
    open_shop.stock("straight", 1000)
    return open_shop


class Answers:
    """Reads responses from a connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._done: list[dict[str, Any]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._now: dict[str, Any] = {}

    def next(self) -> dict[str, Any]:
        """Return status, headers and body of the next response; {} at the end of the connection."""
        while not self._done:
            data = self._connection.recv(65_536)
            if not data:
                return {}
            self._parser.feed_data(data)
        return self._done.pop(0)

    def on_message_begin(self) -> None:
        self._now = {"headers": {}, "body": b""}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now["headers"][name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._now["body"] += body

    def on_message_complete(self) -> None:
        self._done.append({"status": self._parser.get_status_code(), **self._now})


@contextmanager
def connected(shop: Shop) -> Iterator[tuple[socket.socket, Answers]]:
    with socket.create_connection(("127.0.0.1", shop.order.port), timeout=10) as connection:
        yield connection, Answers(connection)


def head(key: str, more: bytes = PLAIN, line: bytes = b"POST /api/orders HTTP/1.1") -> bytes:
    return b"%s\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: %s\r\n%s\r\n" % (
        line,
        key.encode(),
        more,
    )


def test_a_body_in_several_segments_is_read_and_the_connection_stays_open(shop: Shop) -> None:
    with connected(shop) as (connection, answers):
        for _ in range(3):
            request = head(new_key()) + BODY
            for cut in (request[:20], request[20:-10], request[-10:]):
                connection.sendall(cut)
            assert answers.next()["status"] == 201


def test_orders_sent_in_a_row_are_answered_in_turn(shop: Shop) -> None:
    keys = [new_key() for _ in range(5)]
    with connected(shop) as (connection, answers):
        connection.sendall(b"".join(head(key) + BODY for key in keys))
        responses = [answers.next() for _ in keys]
    assert [one["status"] for one in responses] == [201] * 5
    placed = [one["headers"]["location"].rpartition("/")[2] for one in responses]
    assert placed == [
        str(
            shop.client.get(f"{shop.order.url}/api/orders", params={"idempotency_key": key}).json()["orders"][0][
                "order_id"
            ]
        )
        for key in keys
    ]


def test_a_client_that_disconnects_mid_body_places_no_order(shop: Shop) -> None:
    key = new_key()
    with connected(shop) as (connection, _):
        connection.sendall(head(key) + BODY[:10])
    found = shop.client.get(f"{shop.order.url}/api/orders", params={"idempotency_key": key}).json()
    assert found["orders"] == []


def test_a_client_that_disconnects_before_the_response_has_placed_its_order(shop: Shop) -> None:
    key = new_key()
    with connected(shop) as (connection, _):
        connection.sendall(head(key) + BODY)
    assert eventually(
        lambda: (
            [
                order["status"]
                for order in shop.client.get(f"{shop.order.url}/api/orders", params={"idempotency_key": key}).json()[
                    "orders"
                ]
            ]
            == ["confirmed"]
        )
    )


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (PLAIN, b"POST /api/orders?from=here HTTP/1.1"),
        (PLAIN, b"POST /api/%6frders HTTP/1.1"),
        (b"Transfer-Encoding: chunked\r\n", b"POST /api/orders HTTP/1.1"),
    ],
)
def test_equivalent_request_spellings_have_the_same_result(shop: Shop, more: bytes, line: bytes) -> None:
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if b"chunked" in more else BODY
    with connected(shop) as (connection, answers):
        connection.sendall(head(new_key(), more, line) + sent)
        assert answers.next()["status"] == 201


@pytest.mark.parametrize(
    ("more", "line"),
    [(PLAIN + b"Connection: close\r\n", b"POST /api/orders HTTP/1.1"), (PLAIN, b"POST /api/orders HTTP/1.0")],
)
def test_a_closing_connection_sends_connection_close_and_ends(shop: Shop, more: bytes, line: bytes) -> None:
    with connected(shop) as (connection, answers):
        connection.sendall(head(new_key(), more, line) + BODY)
        answer = answers.next()
        assert (answer["status"], answer["headers"].get("connection")) == (201, "close")
        assert answers.next() == {}


def test_an_expect_100_continue_request_gets_its_100(shop: Shop) -> None:
    with connected(shop) as (connection, _):
        connection.sendall(head(new_key(), PLAIN + b"Expect: 100-continue\r\n"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_a_content_length_over_the_limit_is_refused_at_once(shop: Shop) -> None:
    with connected(shop) as (connection, answers):
        connection.sendall(head(new_key(), b"Content-Length: 65537\r\n"))
        answer = answers.next()
        assert (answer["status"], answer["headers"]["connection"]) == (413, "close")
