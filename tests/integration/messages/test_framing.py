"""The end of a message is never ambiguous (RFC 9112), and framing has limits."""

import pytest

from tests.integration.messages.framing import CHUNKED, NEXT, ends_with
from tests.integration.messages.services import Role, new_id
from tests.processes import OPERATOR_TOKEN, Service
from tests.raw_http import chunked, connected

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
