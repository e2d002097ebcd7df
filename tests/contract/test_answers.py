"""Real responses of the order service, validated against its OpenAPI document."""

import re
from typing import Any

import httpx
import jsonschema
import pytest

from services.common.middleware import SECURITY_HEADERS
from tests.contract.conftest import OPERATOR, Platform
from tests.e2e.shop import new_key
from tests.processes import eventually

OF_HTTP = {"date", "content-type", "content-length", "connection"}
OF_ALL = OF_HTTP | {name.decode() for name, _ in SECURITY_HEADERS}
BODY = {"item_id": "ps5", "quantity": 1}


class Document:
    """The OpenAPI document that the running service publishes."""

    def __init__(self, url: str) -> None:
        self.whole: dict[str, Any] = httpx.get(f"{url}/schema/openapi.json").json()

    def operation(self, method: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["paths"][path][method]
        return found

    def hold(self, answer: httpx.Response, method: str, path: str) -> None:
        """Fail unless status, headers and body of a response match the document."""
        response = self.operation(method, path)["responses"][str(answer.status_code)]
        documented = {name.lower() for name in response["headers"]}
        required = {
            name.lower() for name in response["headers"] if self.whole["components"]["headers"][name].get("required")
        }
        assert required <= answer.headers.keys() - OF_ALL <= documented
        for name in documented & answer.headers.keys():
            [described] = [ref for ref in self.whole["components"]["headers"] if ref.lower() == name]
            schema = self.whole["components"]["headers"][described]["schema"]
            value: Any = answer.headers[name]
            jsonschema.validate(int(value) if schema.get("type") == "integer" else value, schema)
        content = response["content"][answer.headers["content-type"]]["schema"]
        jsonschema.validate(answer.json(), content | {"components": self.whole["components"]})


@pytest.fixture(scope="module")
def document(platform: Platform) -> Document:
    return Document(platform.url("order"))


def place(platform: Platform, key: str | None, body: Any = BODY, **headers: str) -> httpx.Response:
    keyed = {} if key is None else {"Idempotency-Key": key}
    return platform.shop.client.post(platform.url("order", "/api/orders"), json=body, headers=keyed | headers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (BODY, 201),
        ({"item_id": "ps5", "quantity": 999}, 409),
        ({"item_id": "nobody-sells-this", "quantity": 1}, 422),
    ],
)
def test_an_order_and_its_replay_match_the_documented_responses(
    platform: Platform, document: Document, body: dict[str, Any], status: int
) -> None:
    key = new_key()
    first = place(platform, key, body)
    again = place(platform, f'"{key}"', body)
    for answer in (first, again):
        assert answer.status_code == status, answer.text
        document.hold(answer, "post", "/api/orders")
    if "idempotent-replayed" in again.headers:
        assert "idempotent-replayed" not in first.headers
    if status == httpx.codes.CREATED:
        assert again.headers["idempotent-replayed"] == "true"
        assert first.headers["location"] == again.headers["location"] == f"/api/orders/{first.json()['order_id']}"


def test_an_accepted_order_returns_its_location(platform: Platform, document: Document) -> None:
    platform.shop.chaos(crash_rate=1.0, ttl_seconds=30)
    try:
        answer = place(platform, new_key())
    finally:
        platform.shop.calm()
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    document.hold(answer, "post", "/api/orders")
    eventually(lambda: platform.shop.get(answer.json()["order_id"])["status"] == "confirmed", 30)


@pytest.mark.parametrize(
    ("key", "body", "headers", "status"),
    [
        (None, BODY, {}, 400),
        ("a b", BODY, {}, 400),
        ("k", BODY, {"Authorization": "Bearer wrong-0123456789abcdef"}, 401),
        ("k", BODY, {"Origin": "http://evil.example"}, 403),
        ("k", {"item_id": "x" * 70_000, "quantity": 1}, {}, 413),
        ("k", BODY, {"Content-Type": "text/plain"}, 415),
        ("k", BODY, {"Content-Encoding": "gzip"}, 415),
        ("k", BODY, {"Host": "evil.example"}, 421),
        ("k", {"item_id": "ps5"}, {}, 422),
    ],
)
def test_a_refusal_matches_the_documented_response(
    platform: Platform, document: Document, key: str | None, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = place(platform, key, body, **headers)
    assert answer.status_code == status, answer.text
    document.hold(answer, "post", "/api/orders")


def test_every_page_but_the_last_has_a_cursor_of_the_documented_form(platform: Platform, document: Document) -> None:
    for _ in range(3):
        place(platform, new_key())
    parameters = document.operation("get", "/api/orders")["parameters"]
    [described] = [parameter["schema"] for parameter in parameters if parameter["name"] == "cursor"]
    url, seen, cursor = platform.url("order", "/api/orders"), set[str](), None
    for _ in range(3):
        answer = platform.shop.client.get(url, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))
        document.hold(answer, "get", "/api/orders")
        seen |= {order["order_id"] for order in answer.json()["orders"]}
        cursor = answer.json()["next_cursor"]
        assert re.fullmatch(described["pattern"], cursor)
    assert len(seen) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"all": True},
        {"all": True, "order_id": None},
        {"order_id": "00000000-0000-0000-0000-000000000007"},
        {"order_id": "00000000-0000-0000-0000-000000000007", "all": False},
        {"order_id": "00000000-0000-0000-0000-000000000007", "all": True},
        {"order_id": None},
        {"all": False},
        {"all": None},
        {"all": True, "more": 1},
        {},
    ],
)
def test_a_requeue_is_accepted_exactly_when_its_schema_accepts_it(
    platform: Platform, document: Document, body: dict[str, Any]
) -> None:
    path = "/api/admin/queue/requeue"
    answer = platform.shop.client.post(platform.url("order", path), json=body, headers=OPERATOR)
    document.hold(answer, "post", path)
    schema = document.operation("post", path)["requestBody"]["content"]["application/json"]["schema"]
    is_valid = jsonschema.Draft202012Validator(schema).is_valid(body)
    assert is_valid == (answer.status_code != httpx.codes.UNPROCESSABLE_ENTITY), answer.text
