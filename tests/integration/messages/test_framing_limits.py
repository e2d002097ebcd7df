"""Limits of framing: how long heads, trailers and chunks may be, and what pipelined requests cost."""

import re
from pathlib import Path

import pytest

from tests.integration.messages.framing import CHUNKED, LIMIT, MIB, ends_with
from tests.integration.messages.services import Role, new_id
from tests.processes import Service, eventually
from tests.raw_http import chunked, connected

# Limits

ENDLESS = {
    "one trailer": (b"2\r\n{}\r\n0\r\n", b"X: ", b"y" * 1000),
    "trailers": (b"2\r\n{}\r\n0\r\n", b"", b"X: y\r\n" * 150),
    "a chunk extension": (b"", b"2;a=", b"b" * 1000),
    "chunk extensions": (b"", b"", b"1;%s\r\n{\r\n" % (b"a" * 1000)),
    "zeros of a chunk size": (b"", b"", b"0" * 1000),
    "a header field": (None, b"X: ", b"y" * 1000),
    "a name": (None, b"", b"y" * 1000),
    "header fields": (None, b"", b"X: y\r\n" * 150),
    "white space": (None, b"X:", b" " * 1000),
    "a target": (None, None, b"/x" * 500),
    "empty lines": (None, None, b"\r\n" * 500),
}


def rss(service: Service) -> int:
    """Return the resident memory in bytes."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
    assert resident is not None
    return int(resident[1]) * 1024


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_framing_is_cut_off(each: Role, what: str) -> None:
    """The connection ends, with 431 unless the request was answered, and none of the 24 MB is kept."""
    before_body, begin, endless = ENDLESS[what]
    head = each.post(new_id(), CHUNKED)
    if before_body is None:
        head = b"" if begin is None else head.removesuffix(b"\r\n")
    if what == "a target":
        head = b"GET /"
    before = rss(each.service)
    with connected(each.port, timeout=5) as connection:
        connection.send(head + (before_body or b"") + (begin or b""))
        for _ in range(24 * MIB // len(endless * 64)):
            connection.send(endless * 64)
        answers = connection.rest()
    assert [a.status for a in answers] in ([431], [each.status] if before_body is not None else [431])
    assert eventually(lambda: rss(each.service) < before + 8 * MIB)


@pytest.mark.parametrize("piece", [None, 1000, 70_000])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X: %s\r\n" % (b"y" * (LIMIT - 300)), 200),
        (b"X: %s\r\n" % (b"y" * LIMIT), 431),
        (b"X: %s\r\n" % (b"y" * 2 * LIMIT), 431),
        (b"".join(b"X-%d: %s\r\n" % (n, b"y" * 700) for n in range(90)), 200),
        (b"".join(b"X-%d: %s\r\n" % (n, b"y" * 800) for n in range(90)), 431),
        (b"X: y\r\n" * 95, 200),
        (b"X: y\r\n" * 101, 431),
    ],
    ids=["64 KiB less", "64 KiB", "128 KiB", "90 of 700", "90 of 800", "95", "101"],
)
def test_the_head_limit_holds_however_the_head_arrives(
    each: Role, fields: bytes, status: int, piece: int | None
) -> None:
    with connected(each.port) as connection:
        request = each.head(new_id(), b"GET", b"/health/live") + fields + b"\r\n"
        connection.send(request, piece)
        answer = connection.next()
        assert answer is not None
        assert answer.status == status
        if status == 431:
            assert ends_with([answer, *connection.rest()], 431)


@pytest.mark.parametrize("piece", [None, 1000, 7000, 70_000])
@pytest.mark.parametrize(
    ("fields", "trailers", "is_fine"),
    [
        (b"", b"X: %s\r\n" % (b"y" * (LIMIT - 600)), True),
        (b"", b"X: %s\r\n" % (b"y" * LIMIT), False),
        (b"", (b"X: %s\r\n" % (b"y" * 700)) * 90, True),
        (b"", (b"X: %s\r\n" % (b"y" * 800)) * 90, False),
        (b"X: %s\r\n" % (b"y" * 40_000), (b"X: %s\r\n" % (b"y" * 700)) * 90, False),
        (b"", b"X: y\r\n" * 95, True),
        (b"", b"X: y\r\n" * 101, False),
    ],
    ids=["64 KiB less", "64 KiB", "90 of 700", "90 of 800", "with the head", "95", "101"],
)
def test_trailer_fields_count_towards_the_head_limit(
    each: Role,
    fields: bytes,
    trailers: bytes,
    is_fine: bool,  # noqa: FBT001 - a parameter of the test
    piece: int | None,
) -> None:
    """An endpoint that takes no body has already responded, so only the connection ends."""
    with connected(each.port) as connection:
        request = each.post(new_id(), fields + CHUNKED, chunked(each.body, trailers=trailers))
        connection.send(request + each.get(last := new_id()), piece)
        answers = [connection.next(), connection.next()] if is_fine else connection.rest()
    statuses = [answer.status for answer in answers if answer]
    assert statuses in ([[each.status, 200]] if is_fine else [[431], [each.status]])
    assert (last.decode() in [answer.request_id for answer in answers if answer]) == is_fine


def test_large_heads_before_and_after_a_large_body_are_accepted(each: Role) -> None:
    head = b"X: %s\r\n" % (b"y" * (LIMIT - 400))
    body = each.body + b" " * 60_000
    with connected(each.port) as connection:
        for framing, sent in ((b"Content-Length: %d\r\n" % len(body), body), (CHUNKED, chunked(body, 100))):
            first, second = new_id(), new_id()
            connection.send(each.post(first, head + framing, sent))
            connection.send(each.head(second, b"GET", b"/health/live") + head + b"\r\n")
            answers = [connection.next(), connection.next()]
            assert [a.request_id for a in answers if a] == [first.decode(), second.decode()]


def test_a_body_in_one_byte_chunks_is_accepted(each: Role) -> None:
    body = each.body + b" " * 20_000
    with connected(each.port) as connection:
        connection.send(each.post(new_id(), CHUNKED, chunked(body, 1)) + each.get(new_id()))
        answers = [connection.next(), connection.next()]
    assert [a.status for a in answers if a][1:] == [200]


def test_pipelined_requests_use_little_more_memory_than_their_bytes(each: Role) -> None:
    many = b"".join(each.get(b"ahead-%d" % number) for number in range(20_000))
    before = rss(each.service)
    with connected(each.port, timeout=20) as connection:
        connection.socket.setblocking(False)  # noqa: FBT003 - it has no keyword
        sent = 0
        try:
            while sent < len(many):
                sent += connection.socket.send(many[sent:])
        except BlockingIOError:
            pass  # it has stopped reading
        connection.socket.settimeout(20)
        answers = [connection.next() for _ in range(sent // 200)]
        assert rss(each.service) < before + 24 * MIB
    assert [a.request_id for a in answers if a] == [f"ahead-{number}" for number in range(len(answers))]
