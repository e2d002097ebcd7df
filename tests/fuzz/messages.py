"""Conversations generated from a seed: a request, a message that may be mutated, and another request.

Each request has a unique X-Request-ID, including those hidden in a body.
"""

import hashlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.processes import SERVICE_TOKEN
from tests.raw_http import chunked

MUTATED = 0.75  # the share of conversations whose message is mutated
PATHS = {
    "order": (b"/api/orders", b"/api/orders?limit=3", b"/api/orders/x", b"/api/admin/queue", b"/schema/openapi.json"),
    "inventory": (b"/api/inventory", b"/api/inventory/deduct", b"/api/inventory/deductions", b"/api/inventory/fuzz"),
    "worker": (b"/health", b"/metrics", b"/nowhere"),
    "frontend": (b"/", b"/sign-in", b"/orders/x", b"/sign-out", b"/operate/place"),
}
METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")
FIELDS = (
    b"Accept: text/html",
    b"Accept-Encoding: gzip, br",
    b"Authorization: Bearer %s" % SERVICE_TOKEN.encode(),
    b"Authorization: Basic Og==",
    b"Content-Type: application/json",
    b"Content-Type: application/x-ndjson",
    b"Content-Type: application/x-www-form-urlencoded",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    b"Cookie: valerix=x; csrftoken=y",
    b"Expect: 100-continue",
    b"Origin: http://elsewhere.example",
    b"TE: trailers",
    b"X-Forwarded-For: 203.0.113.7, 10.0.0.1",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"X-Long: " + b"y" * 9000,
    b"X-Empty:",
)
TOKENS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"\r\n\r\n",
    b"\r\n ",
    b"\xff\xfe",
    b"\x0b",
    b"%00",
    b"../",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: +5\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: other.example\r\n",
    b"X: %s\r\n" % (b"y" * 70_000),
    b"X: y\r\n" * 120,
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b";" + b"e" * 70_000,
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET / HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


ISSUED: set[str] = set()
"""Every X-Request-ID of this run."""


@dataclass(frozen=True)
class Conversation:
    """The bytes sent on one connection, and the request ids that may be answered.

    `ids` are those of the first request, the message, the last request, and the request hidden in the body. If
    `is_valid`, the hidden one must not be answered, and all others have to be.
    """

    name: str
    pieces: tuple[bytes, ...]
    ids: tuple[str, ...]
    is_valid: bool


def conversation(seed: int, service: str, number: int, host: bytes) -> Conversation:
    """Return conversation `number` for `service`: the same for the same seed."""
    name = f"fuzz-{seed}-{service}-{number}"
    dice = random.Random(name)  # noqa: S311 - repeatable, not secret
    ids = tuple(f"{part}-{_digest(name)}" for part in ("before", "message", "behind", "hidden"))
    ISSUED.update(ids)
    before, behind = (_request(b"GET", b"/health/live", host, one) + b"\r\n" for one in (ids[0], ids[2]))
    message = _message(dice, service, host, ids[1], ids[3])
    is_valid = dice.random() >= MUTATED
    if not is_valid:
        for _ in range(dice.choice((1, 1, 2, 3))):
            message = dice.choice(MUTATIONS)(dice, message)
    return Conversation(name, _cut(dice, before, message, behind), ids, is_valid)


def _digest(name: str) -> str:
    """Return a digest that no mutation turns into that of another name."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _request(method: bytes, target: bytes, host: bytes, request_id: str) -> bytes:
    return b"%s %s HTTP/1.1\r\nHost: %s\r\nX-Request-ID: %s\r\n" % (method, target, host, request_id.encode())


def _message(dice: random.Random, service: str, host: bytes, request_id: str, hidden: str) -> bytes:
    head = _request(dice.choice(METHODS), dice.choice(PATHS[service]), host, request_id)
    head += b"Idempotency-Key: %s\r\n" % request_id.encode()
    fields = {field.partition(b":")[0]: field for field in dice.sample(FIELDS, dice.randint(0, 5))}
    head += b"".join(b"%s\r\n" % field for field in fields.values())
    body = _body(dice, host, hidden)
    match dice.choice(("length", "chunks", "none")):
        case "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        case "chunks":
            trailers = dice.choice((b"", b"X-Checksum: 1\r\nX-Request-ID: trailer\r\n"))
            sent = chunked(body, dice.choice((1, 7, 1000, 70_000)), trailers)
            if dice.random() < 0.3:
                sent = sent.replace(b"\r\n", b";name=value\r\n", 1)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + sent
        case _:
            return head + b"\r\n"


def _body(dice: random.Random, host: bytes, hidden: str) -> bytes:
    smuggled = _request(b"GET", b"/health/live", host, hidden) + b"\r\n"
    return dice.choice(
        (
            b"",
            b"{}",
            b'{"item_id":"fuzz","quantity":1}',
            smuggled,
            b"\r\n" * 30 + smuggled * 2,
            smuggled[:-2],
            b"0\r\n\r\n" + smuggled,
            dice.randbytes(dice.randint(1, 3000)),
            b"x" * 70_000,
        )
    )


def _cut(dice: random.Random, before: bytes, message: bytes, behind: bytes) -> tuple[bytes, ...]:
    """Return the bytes in one piece, or in pieces of random length."""
    whole = before + message + behind
    if dice.random() < 0.5:
        return (whole,)
    marks = sorted({0, len(whole), *(dice.randrange(len(whole)) for _ in range(dice.randint(1, 5)))})
    return tuple(whole[at:to] for at, to in itertools.pairwise(marks))


def _replace(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + bytes([dice.randrange(256)]) + message[at + 1 :]


def _insert(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message) + 1)
    return message[:at] + dice.choice(TOKENS) + message[at:]


def _insert_line(dice: random.Random, message: bytes) -> bytes:
    lines = message.split(b"\r\n")
    at = dice.randint(1, min(len(lines), 12))
    return b"\r\n".join([*lines[:at], dice.choice(TOKENS).removesuffix(b"\r\n"), *lines[at:]])


def _remove(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + message[at + dice.randint(1, 20) :]


def _repeat(dice: random.Random, message: bytes) -> bytes:
    at = dice.randrange(len(message))
    return message[:at] + message[at : at + dice.randint(1, 40)] * 2 + message[at + 1 :]


def _swap_lines(dice: random.Random, message: bytes) -> bytes:
    lines = message.split(b"\r\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _renumber(dice: random.Random, message: bytes) -> bytes:
    digits = [at for at, byte in enumerate(message[:2000]) if chr(byte).isdigit()]
    at = dice.choice(digits) if digits else 0
    return message[:at] + dice.choice((b"0", b"1", b"9", b"-", b"+", b"0x", b"99999")) + message[at + 1 :]


def _truncate(dice: random.Random, message: bytes) -> bytes:
    return message[: dice.randrange(len(message)) + 1]


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _replace,
    _insert,
    _insert_line,
    _insert_line,
    _remove,
    _repeat,
    _swap_lines,
    _renumber,
    _truncate,
)
