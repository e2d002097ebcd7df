"""Bodies that every endpoint refuses: duplicate members and wrong encodings."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from services.common.refusals import InvalidBody
from services.common.request_body import decode
from services.inventory.wire import decode_lines
from services.order.domain import OrderBody
from tests.unit.common.environment import TOKENS
from tests.unit.common.services import SERVICES, Answer, Endpoint, Lines, ask, build, endpoints

ORDER_ID = "00000000-0000-0000-0000-000000000007"
LINE = {"order_id": ORDER_ID, "item_id": "ps5", "quantity": 1, "attempt": 1}
BODIES: dict[str, dict[str, Any]] = {
    "/api/orders": {"item_id": "ps5", "quantity": 1},
    "/api/admin/breaker": {"state": "auto"},
    "/api/admin/queue/requeue": {"order_id": ORDER_ID, "all": False},
    "/api/inventory/deduct": LINE,
    "/api/inventory/deductions": LINE,
    "/api/inventory/{item_id}/restock": {"quantity": 1},
    "/api/admin/chaos": {
        "latency": True,
        "reason": "a: b",
        "script": [{"gremlin": "latency", "order_id": ORDER_ID, "attempt": 1}],
    },
    "/api/admin/chaos/halt": {"halted": False},
    "/api/admin/chaos/drill": {"run": "run", "drill": "small", "by": "us", "ttl_seconds": 1},
}
POSTS = [endpoint for endpoint in endpoints("POST", "PUT", "PATCH") if endpoint.service != "frontend"]
CHANGES = [
    *endpoints("POST", "PUT", "PATCH", "DELETE"),
    *(Endpoint(service, "POST", "", "/nothing") for service in SERVICES),
]
REFUSED_BODY, REFUSED_TYPE = 422, 415


def test_every_endpoint_that_accepts_json_is_tested() -> None:
    assert {endpoint.template for endpoint in POSTS} == BODIES.keys()


async def send(endpoint: Endpoint, body: bytes, *more: tuple[bytes, bytes]) -> Answer:
    """Send a body with the token that the endpoint requires. A valid one gets 500, since there is no database."""
    token = TOKENS[0 if "deduct" in endpoint.path else 2].encode()
    kind = b"application/x-ndjson" if endpoint.path.endswith("deductions") else b"application/json"
    usual: Lines = [
        (b"authorization", b"Bearer " + token),
        (b"content-type", kind),
        (b"idempotency-key", b"key"),
        (b"content-length", b"%d" % len(body)),
    ]
    return await ask(build(endpoint.service), endpoint.method, endpoint.path, [*usual, *more], content=body)


def is_taken(answer: Answer) -> bool:
    """Return True if the request got as far as the missing database."""
    return answer.slug == "internal-error"


def repeated(value: Any) -> Iterator[str]:
    """Yield JSON texts of `value` in which one member, at any depth, is repeated, spelled alike or with an escape."""
    match value:
        case dict():
            texts = {name: json.dumps(part) for name, part in value.items()}
            whole = ", ".join(f'"{name}": {text}' for name, text in texts.items())
            for name, text in texts.items():
                escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
                for spelling in (name, escaped, escaped.upper().replace("\\U", "\\u")[:6] + name[1:]):
                    yield f'{{{whole}, "{spelling}": {text}}}'
                    yield f'{{"{spelling}" : {text},{whole}}}'
                yield f'{{{whole}, "{name}": 2}}'
            for name, part in value.items():
                others = "".join(f'"{other}": {text}, ' for other, text in texts.items() if other != name)
                for text in repeated(part):
                    yield f'{{{others}"{name}": {text}}}'
        case list():
            for part in value:
                for text in repeated(part):
                    yield f"[{text}]"


@pytest.mark.parametrize("endpoint", POSTS, ids=str)
async def test_a_duplicate_member_is_refused_at_any_depth_in_any_spelling(endpoint: Endpoint) -> None:
    body = BODIES[endpoint.template]
    assert is_taken(await send(endpoint, json.dumps(body).encode()))
    texts = [*repeated(body)]
    assert len(texts) >= 7
    for text in texts:
        answer = await send(endpoint, text.encode())
        assert (answer.status, answer.slug) == (REFUSED_BODY, "invalid-body"), text
        if endpoint.path.endswith("deductions"):
            lines = f"{json.dumps(body)}\n{text}\n{json.dumps(body)}".encode()
            assert (await send(endpoint, lines)).status == REFUSED_BODY, text


@pytest.mark.parametrize(
    "text",
    [
        b'{"item_id":"a:b:c","quantity":1}',
        b'{"item_id":"quantity","quantity":1}',
        b'\n{ "item_id" :\t"item_id:" , "quantity" : 1 }\r\n',
        b'{"item\\u005fid":"ps5","quantity":1}',
    ],
)
def test_colons_and_names_in_values_are_not_taken_for_members(text: bytes) -> None:
    assert decode(text, msgspec.json.Decoder(OrderBody)).quantity == 1


def test_whitespace_within_a_line_does_not_end_it() -> None:
    line = json.dumps(LINE | {"item_id": "a:b"}).encode()
    assert len(decode_lines(line.replace(b", ", b",\r") + b"\n\n \r\n" + line + b"\r\n")) == 2


def test_a_too_deeply_nested_body_is_refused_without_a_bug() -> None:
    with pytest.raises(InvalidBody):
        decode(b"[" * 50_000 + b'{"a":1}' + b"]" * 50_000, msgspec.json.Decoder(Any))


@pytest.mark.parametrize("endpoint", CHANGES, ids=str)
@pytest.mark.parametrize(
    "codings", [[b"gzip"], [b"br"], [b"identity, gzip"], [b"gzip", b"identity"], [b"aes128gcm"], [b'"identity"']]
)
async def test_an_encoded_body_is_415_with_the_accepted_encoding(endpoint: Endpoint, codings: list[bytes]) -> None:
    body = gzip.compress(json.dumps(BODIES.get(endpoint.template, {})).encode())
    answer = await send(endpoint, body, *[(b"content-encoding", coding) for coding in codings])
    assert (answer.status, answer.slug) == (REFUSED_TYPE, "unsupported-media-type")
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("endpoint", POSTS, ids=str)
@pytest.mark.parametrize("coding", [b"identity", b"Identity", b"", b"identity,identity"])
async def test_an_explicit_identity_encoding_is_accepted(endpoint: Endpoint, coding: bytes) -> None:
    answer = await send(endpoint, json.dumps(BODIES[endpoint.template]).encode(), (b"content-encoding", coding))
    assert is_taken(answer)


@pytest.mark.parametrize("endpoint", POSTS, ids=str)
@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        ([b"%s"], True),
        ([b"%s; charset=utf-8"], True),
        ([b'%s;charset="UTF-8"'], True),
        ([b"%s ; version=1; CharSet=us-ascii"], True),
        ([b"%s; charset=utf-16"], False),
        ([b'%s; version=1; charset="iso-8859-1"'], False),
        ([b"%s; charset=utf-8; charset=utf-16"], False),
        ([b"%s; charset="], False),
        ([b"%s", b"%s"], False),
        ([b"%s", b"text/plain"], False),
        ([b"%s, text/plain"], False),
        ([b"text/plain; a=%s"], False),
        ([b""], False),
        ([], False),
    ],
)
async def test_a_body_has_one_media_type_and_is_utf_8(endpoint: Endpoint, lines: list[bytes], taken: bool) -> None:  # noqa: FBT001 - a table's column
    kind = b"application/x-ndjson" if endpoint.path.endswith("deductions") else b"application/json"
    headers: Lines = [
        (b"authorization", b"Bearer " + TOKENS[0 if "deduct" in endpoint.path else 2].encode()),
        (b"idempotency-key", b"key"),
        *((b"content-type", line.replace(b"%s", kind)) for line in lines),
    ]
    content = json.dumps(BODIES[endpoint.template]).encode()
    answer = await ask(build(endpoint.service), endpoint.method, endpoint.path, headers, content=content)
    assert is_taken(answer) if taken else (answer.status, answer.slug) == (REFUSED_TYPE, "unsupported-media-type")


@pytest.mark.parametrize(
    "number", ["1.0", "1e0", "10e-1", "1.5", "NaN", "Infinity", "-0", "01", "+1", "0x1", "true", '"1"', "1" * 5000]
)
def test_a_quantity_is_written_as_an_integer(number: str) -> None:
    with pytest.raises(InvalidBody):
        decode(f'{{"item_id":"ps5","quantity":{number}}}'.encode(), msgspec.json.Decoder(OrderBody))


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbf{"item_id":"ps5","quantity":1}',
        b'{"item_id":"ps5","quantity":1}x',
        b'{"item_id":"ps5","quantity":1}\x00',
        b'{"item_id":"ps5","quantity":1}{"item_id":"ps5","quantity":1}',
        b'{"item_id":"\\ud800","quantity":1}',
        b'{"item_id":"\xed\xa0\x80","quantity":1}',
        b'{"item_id":"\xc0\x80","quantity":1}',
        b'{"item_id":"ps5",/**/"quantity":1}',
        b'{"item_id":"ps5","quantity":1,}',
        b"{'item_id':'ps5','quantity':1}",
        '{"item_id":"ps5","quantity":1}'.encode("utf-16"),
    ],
)
def test_a_body_is_exactly_one_json_text_in_utf_8(text: bytes) -> None:
    with pytest.raises(InvalidBody):
        decode(text, msgspec.json.Decoder(OrderBody))
