"""Host and Origin headers over real sockets: on both routes to a handler, and as a browser sends them."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.shop import Shop, new_key

BODY = b'{"item_id":"hosts","quantity":1}'
SLASH = b"/api/orders/"  # served by the framework's route; without the slash, directly


@pytest.fixture(scope="module")
def shop(open_shop: Shop) -> Shop:
    open_shop.stock("hosts", 1000)
    return open_shop


def send(shop: Shop, target: bytes, key: str, *lines: bytes, version: bytes = b"1.1") -> int:
    """Place an order with these header lines; return the response's status."""
    head = [
        b"POST %s HTTP/%s" % (target, version),
        *lines,
        b"Content-Type: application/json",
        b"Idempotency-Key: %s" % key.encode(),
        b"Content-Length: %d" % len(BODY),
        b"Connection: close",
    ]
    with socket.create_connection(("127.0.0.1", shop.order.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + BODY)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split(b" ", 2)[1])


def is_placed(shop: Shop, key: str) -> bool:
    found = shop.client.get(f"{shop.order.url}/api/orders", params={"idempotency_key": key}).json()
    return bool(found["orders"])


HOST = b"Host: localhost"
REFUSED = [
    (421, [b"Host: evil.example:3001"]),
    (421, [b"host:evil.example"]),
    (400, []),
    (400, [HOST, HOST]),
    (400, [HOST, b"Host: evil.example"]),
    (400, [b"Host:"]),
    (400, [b"Host: local host"]),
    (403, [HOST, b"Origin: http://evil.example"]),
    (403, [HOST, b"Origin: null"]),
    (403, [HOST, b"Origin: http://localhost", b"Origin: http://evil.example"]),
    (403, [HOST, b"Sec-Fetch-Site: cross-site"]),
    (403, [HOST, b"Sec-Fetch-Site: same-site"]),
]


@pytest.mark.parametrize("target", [b"/api/orders", SLASH], ids=["shortcut", "framework"])
@pytest.mark.parametrize(("status", "lines"), REFUSED)
def test_a_refused_request_places_no_order_on_either_path(
    shop: Shop, status: int, lines: list[bytes], target: bytes
) -> None:
    key = new_key()
    assert send(shop, target, key, *lines) == status
    assert not is_placed(shop, key)


@pytest.mark.parametrize(
    ("target", "lines", "status"),
    [
        (b"http://localhost/api/orders", [HOST], 201),
        (b"HTTP://LOCALHOST:80/api/orders", [HOST], 201),
        (b"http://localhost:3001/api/orders", [b"Host: localhost:3001"], 201),
        (b"http://localhost/api/orders/", [HOST], 201),
        (b"http://evil.example/api/orders", [HOST], 400),
        (b"http://localhost/api/orders", [b"Host: evil.example"], 400),
        (b"http://evil.example/api/orders", [b"Host: evil.example"], 421),
        (b"http://localhost:3001/api/orders", [HOST], 400),
        (b"http://user@localhost/api/orders", [HOST], 400),
        (b"http:///api/orders", [HOST], 400),
        (b"ftp://localhost/api/orders", [HOST], 400),
        (b"http://localhost/api/orders", [], 400),
    ],
)
def test_an_absolute_target_agrees_with_the_host(shop: Shop, target: bytes, lines: list[bytes], status: int) -> None:
    key = new_key()
    assert send(shop, target, key, *lines) == status
    assert is_placed(shop, key) == (status == 201)


def test_http_1_0_orders_without_a_host(shop: Shop) -> None:
    assert send(shop, b"/api/orders", new_key(), version=b"1.0") == 201
    assert send(shop, b"/api/orders", new_key(), b"Host: evil.example", version=b"1.0") == 421
    assert send(shop, b"http://evil.example/api/orders", new_key(), version=b"1.0") == 421


@pytest.fixture
def rebound(shop: Shop) -> Iterator[httpx.Client]:
    """A page's fetch after its name was rebound to the order service: the same origin, as far as the browser knows."""
    page = {"Host": f"evil.example:{shop.order.port}", "Origin": f"http://evil.example:{shop.order.port}"}
    with httpx.Client(base_url=shop.order.url, headers=page | {"Sec-Fetch-Site": "same-origin"}) as client:
        yield client


def test_a_rebound_host_name_reads_and_orders_nothing(shop: Shop, rebound: httpx.Client) -> None:
    key = new_key()
    for path in ("/api/orders", "/metrics", "/health/deep", "/schema/openapi.json", "/nothing"):
        assert rebound.get(path).status_code == 421
    answer = rebound.post("/api/orders", json={"item_id": "hosts", "quantity": 1}, headers={"Idempotency-Key": key})
    assert answer.status_code == 421
    assert not is_placed(shop, key)


def test_every_service_refuses_a_rebound_host_name(shop: Shop) -> None:
    for service in shop.everyone:
        for path in ("/health", "/metrics", "/nothing"):
            answer = shop.client.get(service.url + path, headers={"Host": "evil.example"})
            assert (answer.status_code, answer.json()["type"]) == (421, "urn:valerix:problem:misdirected-request")


def test_options_accepts_the_asterisk_form_for_the_whole_service(shop: Shop) -> None:
    for service in shop.everyone:
        for host, status in ((b"localhost", 204), (b"evil.example", 421)):
            with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
                connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host)
                answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert (b"allow: DELETE, GET, HEAD, OPTIONS, POST" in answer) == (status == 204)
