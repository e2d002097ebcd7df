"""Invalid orders are refused with the right problem and are not stored."""

import socket
from typing import Any

import httpx

from tests.e2e.shop import Shop, new_key

GOOD = b'{"item_id":"ps5","quantity":1}'


def post(shop: Shop, content: bytes, headers: list[tuple[str, str]] | None = None) -> httpx.Response:
    """Send a request to the direct endpoint and, spelled differently, to the framework's route: both respond alike."""
    given = [("Content-Type", "application/json"), ("Idempotency-Key", new_key())] if headers is None else headers
    short, routed = (
        shop.client.post(shop.order.url + path, content=content, headers=given)
        for path in ("/api/orders", "/api/orders/")
    )
    assert comparable(short) == comparable(routed)
    return short


def comparable(response: httpx.Response) -> tuple[int, dict[str, str], str]:
    """Return the response without the parts that differ between requests."""
    other = {"date", "x-request-id", "x-ratelimit-remaining", "idempotent-replayed"}
    headers = {name: value for name, value in response.headers.items() if name not in other}
    return response.status_code, headers, response.text.replace(response.headers["X-Request-ID"], "…")


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert document["instance"] == f"urn:valerix:request:{document['request_id']}"
    return response.status_code, document["type"].removeprefix("urn:valerix:problem:")


def raw(shop: Shop, head: bytes) -> bytes:
    """Send bytes that no client library would send, and return the status line."""
    with socket.create_connection(("127.0.0.1", shop.order.port), timeout=5) as connection:
        connection.sendall(
            b"POST /api/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 30\r\n"
            + head
            + b"\r\nConnection: close\r\n\r\n"
            + GOOD
        )
        return connection.makefile("rb").readline()


def test_every_bad_request_gets_its_problem_type_and_changes_nothing(open_shop: Shop) -> None:
    before = open_shop.statuses(), open_shop.quantity()
    json = ("Content-Type", "application/json")
    keys = {
        "idempotency-key-missing": [[json]],
        "idempotency-key-invalid": [
            [json, ("Idempotency-Key", "")],
            [json, ("Idempotency-Key", '""')],
            [json, ("Idempotency-Key", "k" * 256)],
            [json, ("Idempotency-Key", "a b")],
            [json, ("Idempotency-Key", "a%0D%0Ab")],
            [json, ("Idempotency-Key", "a\tb")],
            [json, ("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
            [json, ("Idempotency-Key", "same"), ("Idempotency-Key", "same")],
        ],
    }
    for slug, cases in keys.items():
        for headers in cases:
            assert problem(post(open_shop, GOOD, headers)) == (400, slug), headers

    quantities = [b"0", b"-1", b"1001", b"1.5", b'"1"', b"true", b"1e309", b"NaN", b"null", b"[1]", b"1" * 400]
    bodies = [
        *(b'{"item_id":"ps5","quantity":%b}' % quantity for quantity in quantities),
        b'{"item_id":"ps5","quantity":1,"price":0}',
        b'{"item_id":"ps5"}',
        b'{"quantity":1}',
        b'{"item_id":7,"quantity":1}',
        b'{"item_id":"","quantity":1}',
        b'{"item_id":"a b","quantity":1}',
        b'{"item_id":"ps5\\u0000","quantity":1}',
        b'{"item_id":"' + b"x" * 65 + b'","quantity":1}',
        GOOD[:-1],
        b"",
        b"null",
        b"[]",
        b'{"item_id":"\xff","quantity":1}',
        b"[" * 20_000,
    ]
    for body in bodies:
        assert problem(post(open_shop, body)) == (422, "invalid-body"), body[:80]

    assert problem(post(open_shop, GOOD + b" " * 65_536)) == (413, "body-too-large")
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/json5"):
        headers = [("Content-Type", media_type), ("Idempotency-Key", new_key())]
        assert problem(post(open_shop, GOOD, headers)) == (415, "unsupported-media-type")
    assert problem(post(open_shop, GOOD, [("Idempotency-Key", new_key())])) == (415, "unsupported-media-type")
    assert problem(post(open_shop, b'{"item_id":"unicorn","quantity":1}')) == (422, "unknown-item")
    assert problem(open_shop.client.put(f"{open_shop.order.url}/api/orders")) == (405, "method-not-allowed")
    assert problem(open_shop.client.get(f"{open_shop.order.url}/api/nothing")) == (404, "not-found")

    assert (open_shop.statuses(), open_shop.quantity()) == before


def test_an_order_is_placed_on_the_direct_and_on_the_routed_path(open_shop: Shop) -> None:
    before = open_shop.quantity()
    response = post(open_shop, GOOD)
    assert (response.status_code, response.headers["Content-Type"]) == (201, "application/json")
    assert open_shop.quantity() == before - 1


def test_a_line_break_or_a_nul_in_the_key_is_refused_by_the_parser(open_shop: Shop) -> None:
    before = open_shop.statuses()
    for key in (b"a\r\nb", b"a\nb", b"a\x00b", b"\x00"):
        assert b" 400 " in raw(open_shop, b"Idempotency-Key: " + key), key
    assert b" 400 " in raw(open_shop, b"Idempotency-Key: a\r\nIdempotency-Key: b")
    assert open_shop.statuses() == before
    assert b" 201 " in raw(open_shop, b"Idempotency-Key: good")


def test_a_chunked_body_over_the_limit_is_refused(open_shop: Shop) -> None:
    before = open_shop.statuses()
    response = open_shop.client.post(
        f"{open_shop.order.url}/api/orders",
        content=iter([GOOD, b" " * 40_000, b" " * 40_000]),
        headers={"Content-Type": "application/json", "Idempotency-Key": new_key()},
    )
    assert problem(response) == (413, "body-too-large")
    assert open_shop.statuses() == before


def test_every_bad_query_gets_its_problem_type(open_shop: Shop) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    for path, status, slug in (
        ("/api/orders/not-a-uuid", 404, "not-found"),
        (f"/api/orders/{nobody}", 404, "order-not-found"),
        (f"/api/orders/{nobody}/events", 404, "order-not-found"),
        ("/api/orders?limit=0", 400, "invalid-request"),
        ("/api/orders?limit=501", 400, "invalid-request"),
        ("/api/orders?limit=many", 400, "invalid-request"),
        ("/api/orders?status=lost", 400, "invalid-request"),
        ("/api/orders?cursor=%00", 400, "invalid-parameter"),
        ("/api/orders?cursor=LTE", 400, "invalid-parameter"),
    ):
        assert problem(open_shop.client.get(open_shop.order.url + path)) == (status, slug), path
