"""Authorization on each endpoint of both services."""

from typing import Any

import httpx

from tests.e2e.shop import Shop
from tests.processes import OPERATOR, SERVICE, Processes, eventually

NOBODY = "00000000-0000-0000-0000-000000000000"
DEDUCTION = {"order_id": NOBODY, "item_id": "ps5", "quantity": 1, "attempt": 1}
WRONG = {"Authorization": "Bearer wrong-wrong-wrong-wrong"}
BASIC = {"Authorization": "Basic b3BlcmF0b3I6b3BlcmF0b3I="}

OPERATOR_ENDPOINTS: list[tuple[str, str, str, Any]] = [
    ("order", "GET", "/api/admin/breaker", None),
    ("order", "POST", "/api/admin/breaker", {"state": "auto"}),
    ("order", "GET", "/api/admin/platform", None),
    ("order", "GET", "/api/admin/queue", None),
    ("order", "POST", "/api/admin/queue/requeue", {"all": True}),
    ("inventory", "POST", "/api/inventory/ps5/restock", {"quantity": 1}),
    ("inventory", "GET", "/api/admin/chaos", None),
    ("inventory", "POST", "/api/admin/chaos", {"ttl_seconds": 1}),
    ("inventory", "DELETE", "/api/admin/chaos", None),
    ("inventory", "POST", "/api/admin/chaos/halt", {"halted": False}),
    ("inventory", "PUT", "/api/admin/chaos/drill", {"run": "a", "drill": "a", "by": "a", "ttl_seconds": 1}),
    ("inventory", "DELETE", "/api/admin/chaos/drill/a", None),
]
SERVICE_ENDPOINTS: list[tuple[str, str, str, Any]] = [
    ("inventory", "POST", "/api/inventory/deduct", DEDUCTION),
    ("inventory", "POST", "/api/inventory/deductions", DEDUCTION),
]


def status(shop: Shop, endpoint: tuple[str, str, str, Any], headers: dict[str, str]) -> int:
    service, method, path, body = endpoint
    url = (shop.order if service == "order" else shop.inventory).url + path
    more = {"Idempotency-Key": "restock"} if path.endswith("restock") else {}
    media_type = {"Content-Type": "application/x-ndjson"} if path.endswith("deductions") else {}
    response = httpx.request(method, url, json=body, headers=headers | more | media_type, timeout=10)
    if response.status_code in {401, 403}:
        slug = {401: "unauthorized", 403: "forbidden"}[response.status_code]
        assert response.json()["type"] == f"urn:valerix:problem:{slug}"
        assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    return response.status_code


def test_protected_endpoints_accept_only_a_token_of_their_level(open_shop: Shop) -> None:
    before = open_shop.quantity()
    for endpoint in OPERATOR_ENDPOINTS:
        assert [status(open_shop, endpoint, who) for who in ({}, WRONG, BASIC, SERVICE)] == [401, 401, 401, 403], (
            endpoint
        )
    for endpoint in SERVICE_ENDPOINTS:
        assert [status(open_shop, endpoint, who) for who in ({}, WRONG, BASIC, OPERATOR)] == [401, 401, 401, 403], (
            endpoint
        )
    ledger = ("inventory", "GET", f"/api/inventory/transactions/{NOBODY}", None)
    assert [status(open_shop, ledger, who) for who in ({}, WRONG, SERVICE, OPERATOR)] == [401, 401, 200, 200]
    assert open_shop.quantity() == before


def test_the_right_token_opens_each_protected_endpoint(shop: Shop) -> None:
    for endpoint in OPERATOR_ENDPOINTS:
        assert status(shop, endpoint, OPERATOR) in {200, 201}, endpoint
    for endpoint in SERVICE_ENDPOINTS:
        assert status(shop, endpoint, SERVICE) == 200, endpoint


def test_public_endpoints_need_no_token_but_refuse_a_wrong_one(open_shop: Shop) -> None:
    for service, path in (
        ("order", "/api/orders"),
        ("inventory", "/api/inventory"),
        ("inventory", "/api/inventory/ps5"),
    ):
        endpoint = (service, "GET", path, None)
        assert [status(open_shop, endpoint, who) for who in ({}, SERVICE, OPERATOR, WRONG)] == [200, 200, 200, 401], (
            path
        )


def test_chaos_endpoints_return_404_when_chaos_is_not_allowed(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database, CHAOS_ALLOWED="")
    services.start(shop.inventory)
    for endpoint in OPERATOR_ENDPOINTS:
        if "chaos" in endpoint[2]:
            assert [status(shop, endpoint, who) for who in ({}, WRONG, OPERATOR)] == [404, 404, 404], endpoint


def test_a_rate_limited_client_gets_a_retry_after(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database, RATE_LIMIT_PER_MINUTE="5")
    services.start(shop.order)

    def refused() -> list[httpx.Response]:
        """Return the refused responses of twelve: with five per minute, some are refused even when a minute begins."""
        answers = [shop.client.get(f"{shop.order.url}/api/orders") for _ in range(12)]
        return [answer for answer in answers if answer.status_code == 429]

    limited = eventually(refused, what="a limit, which is open for a moment when Redis is slow")
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in limited)
    assert all(answer.json()["type"] == "urn:valerix:problem:rate-limited" for answer in limited)
    assert {shop.operator.get(f"{shop.order.url}/api/orders").status_code for _ in range(12)} == {200}
    assert {shop.client.get(f"{shop.order.url}/health").status_code for _ in range(12)} == {200}
