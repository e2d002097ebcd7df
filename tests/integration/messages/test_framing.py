"""The end of a message is never ambiguous (RFC 9112), and framing has limits."""

import re
from pathlib import Path

import pytest

from tests.integration.messages.services import Role, new_id
from tests.processes import OPERATOR_TOKEN, Service, eventually
from tests.raw_http import Answer, chunked, connected

LIMIT = 65_536
MIB = 1024 * 1024
NEXT = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: smuggled\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED_HEADS = [
    (400, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
    (400, b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
    (400, b"Content-Length: 2\r\nContent-Length: 3\r\n"),
    (400, b"Content-Length: 2\r\nContent-Length: 2\r\n"),
    (400, b"Content-Length: 2, 2\r\n"),
    (400, b"Content-Length: +2\r\n"),
    (400, b"Content-Length: -2\r\n"),
    (400, b"Content-Length: 2 2\r\n"),
    (400, b"Content-Length: 0x2\r\n"),
    (400, b"Content-Length: 2_0\r\n"),
    (400, b"Content-Length: \r\n"),
    (400, b"Content-Length : 2\r\n"),
    (400, b"Content-Length: 99999999999999999999\r\n"),
    (501, b"Transfer-Encoding: gzip\r\n"),
    (501, b"Transfer-Encoding: gzip, chunked\r\n"),
    (501, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
    (501, b"Transfer-Encoding: identity\r\n"),
    (501, b"Transfer-Encoding: xchunked\r\n"),
    (501, b'Transfer-Encoding: "chunked"\r\n'),
    (501, b"Transfer-Encoding: chunked;q=1\r\n"),
    (400, b"Transfer-Encoding: chunked, chunked\r\n"),
    (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    (400, b"Transfer-Encoding: chunked, identity\r\n"),
    (400, b"Transfer-Encoding: \r\n"),
    (400, b"Transfer-Encoding: \x0bchunked\r\n"),
    (400, b"X: a\r\n folded\r\n"),
    (400, b"X: a\nContent-Length: 2\r\n"),
    (400, b"X: a\rContent-Length: 2\r\n"),
    (400, b"X: a\0b\r\n"),
    (400, b"X\0: a\r\n"),
    (400, b"X : a\r\n"),
    (400, b" X: a\r\n"),
    (400, b": a\r\n"),
    (400, b"X\r\n"),
]
REFUSED_LINES = [
    b"POST /health/live HTTP/1.1 ",
    b"POST /health/live  HTTP/1.1x",
    b"POST /health/live HTTP/1.1\rX: a",
    b"POST /a b HTTP/1.1",
    b"POST\t/health/live HTTP/1.1",
    b" POST /health/live HTTP/1.1",
    b"POST /health/live",
    b"POST /health/live HTTP/0.9",
    b"POST /health/live HTTP/1.2",
    b"POST /health/live HTTP/2.0",
    b"POST /health/live HTTP/11",
    b"POST /health/live http/1.1",
    b"POST /h\0 HTTP/1.1",
    b"POST /h\xc3\xa9 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01",
]
REFUSED_CHUNKS = [
    b"2\n{}\n0\n\n",
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"+2\r\n{}\r\n0\r\n\r\n",
    b"-2\r\n{}\r\n0\r\n\r\n",
    b" 2\r\n{}\r\n0\r\n\r\n",
    b"2 \r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}X0\r\n\r\n",
    b"2\r\n{}\n0\r\n\r\n",
    b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    b"2;a\0b\r\n{}\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n{}",
    b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    b"\r\n2\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX : a\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: a\n\r\n\r\n",
]


def ends_with(answers: list[Answer], status: int) -> bool:
    """Return True if there is exactly one response, a problem, with `Connection: close`."""
    (only,) = answers
    return (only.status, only.headers.get("connection"), only.headers["content-type"]) == (
        status,
        "close",
        "application/problem+json",
    )


@pytest.mark.parametrize("piece", [None, pytest.param(1, marks=pytest.mark.long)], ids=["whole", "bytes"])
@pytest.mark.parametrize(("status", "fields"), REFUSED_HEADS)
def test_a_head_with_ambiguous_framing_is_refused_and_the_connection_closed(
    each: Role, status: int, fields: bytes, piece: int | None
) -> None:
    with connected(each.port) as connection:
        connection.send(each.post(new_id(), fields, b"{}" + NEXT), piece)
        assert ends_with(connection.rest(), status)


@pytest.mark.parametrize("line", REFUSED_LINES)
def test_an_invalid_request_line_is_refused_and_the_connection_closed(each: Role, line: bytes) -> None:
    with connected(each.port) as connection:
        connection.send(line + b"\r\nHost: x\r\n\r\n" + NEXT)
        assert ends_with(connection.rest(), 400)


@pytest.mark.parametrize("chunks", REFUSED_CHUNKS)
def test_ambiguous_chunks_are_refused_and_the_connection_closed(each: Role, chunks: bytes) -> None:
    """An endpoint that takes no body has already responded, so only the connection ends."""
    first = new_id()
    with connected(each.port) as connection:
        connection.send(each.post(first, CHUNKED, chunks + NEXT))
        (answer,) = connection.rest()
    if answer.request_id == first.decode():
        assert answer.status == each.status == 405
    else:
        assert ends_with([answer], 400)


def test_a_transfer_coding_is_refused_with_http_1_0(each: Role) -> None:
    with connected(each.port) as connection:
        request = each.post(new_id(), CHUNKED, chunked(each.body))
        connection.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + NEXT)
        assert ends_with(connection.rest(), 400)


@pytest.mark.parametrize(
    "coding", [b"chunked", b"CHUNKED", b"\tchunked", b"chunked "], ids=["plain", "upper", "tab before", "space after"]
)
def test_every_spelling_of_the_chunked_coding_is_accepted(each: Role, coding: bytes) -> None:
    body = chunked(each.body, trailers=b"X-Checksum: 1\r\n").replace(b"\r\n", b";name=value\r\n", 1)
    with connected(each.port) as connection:
        connection.send(each.post(new_id(), b"Transfer-Encoding: %s\r\n" % coding, body) + each.get(last := new_id()))
        answers = [connection.next(), connection.next()]
    assert [(a.status, a.request_id == last.decode()) for a in answers if a] == [(each.status, False), (200, True)]


@pytest.mark.parametrize("target", [b"http://127.0.0.1:%d/health/live", b"http://127.0.0.1:%d/health/live?x=1"])
def test_a_target_in_absolute_form_is_its_path(each: Role, target: bytes) -> None:
    with connected(each.port) as connection:
        connection.send(each.head(new_id(), b"GET", target % each.port) + b"\r\n")
        answer = connection.next()
    assert answer is not None
    assert answer.status == 200


def test_a_refused_message_is_answered_after_those_before_it(each: Role) -> None:
    ids = [new_id() for _ in range(3)]
    framing = b"Content-Length: %d\r\n" % len(each.body)
    sent = b"".join(each.post(one, framing, each.body) for one in ids)
    for refused in (b"nonsense\r\n\r\n", each.post(new_id(), CHUNKED, b"x\r\n"), each.post(new_id(), b"X : y\r\n")):
        with connected(each.port) as connection:
            connection.send(sent + refused + NEXT)
            answers = connection.rest()
        assert [a.request_id for a in answers[:3]] == [one.decode() for one in ids]
        assert {a.status for a in answers[:3]} <= {each.status, 201}
        assert [(a.status, a.headers.get("connection")) for a in answers[3:]] in ([(400, "close")], [(405, None)])


def test_a_large_pipelined_body_is_read_when_its_turn_comes(each: Role) -> None:
    body = each.body + b" " * 20_000
    for framing, sent in ((b"Content-Length: %d\r\n" % len(body), body), (CHUNKED, chunked(body, 1000))):
        first, second, third = new_id(), new_id(), new_id()
        with connected(each.port) as connection:
            connection.send(each.get(first) + each.post(second, framing, sent) + each.get(third))
            answers = [connection.next() for _ in range(3)]
        assert [(a.status, a.request_id) for a in answers if a] == [
            (200, first.decode()),
            (each.status, second.decode()),
            (200, third.decode()),
        ]


def test_a_refusal_during_another_response_has_its_own_reason(each: Role) -> None:
    """A waiting message is parsed when the response before it is sent: while that request's error is handled."""
    ids = [new_id() for _ in range(150)]
    missing = b"".join(each.head(one, b"GET", b"/nowhere") + b"\r\n" for one in ids)
    with connected(each.port) as connection:
        connection.send(missing + each.post(new_id(), b"Transfer-Encoding: gzip\r\n", b"x"))
        answers = connection.rest()
    assert [a.request_id for a in answers[:-1]] == [one.decode() for one in ids]
    assert {a.status for a in answers[:-1]} == {404}
    assert (answers[-1].status, answers[-1].headers["connection"]) == (501, "close")
    assert "unhandled error" not in each.service.log.read_text()


# Trailers


def test_trailer_fields_are_not_header_fields(each: Role) -> None:
    """They neither authenticate nor identify the request (RFC 9110, section 6.5.1)."""
    first = new_id()
    trailers = b"X-Request-ID: trailer\r\nAuthorization: Bearer %s\r\n" % OPERATOR_TOKEN.encode()
    with connected(each.port) as connection:
        connection.send(each.post(first, CHUNKED, chunked(each.body, trailers=trailers)))
        answer = connection.next()
    assert answer is not None
    assert (answer.status, answer.request_id) == (each.status, first.decode())


def test_an_operator_token_in_a_trailer_is_ignored(fleet: dict[str, Service]) -> None:
    trailers = b"Authorization: Bearer %s\r\n" % OPERATOR_TOKEN.encode()
    for name, target in (("inventory", b"/api/inventory/wire/restock"), ("order", b"/api/admin/breaker")):
        with connected(fleet[name].port) as connection:
            connection.send(
                b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                b"Idempotency-Key: trailer-1\r\nTransfer-Encoding: chunked\r\n\r\n"
                % (target, fleet[name].port)
                + chunked(b'{"quantity":1}', trailers=trailers)
            )
            answer = connection.next()
        assert answer is not None
        assert answer.status == 401, name


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
