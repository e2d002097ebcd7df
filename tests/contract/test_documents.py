"""Tokens, keys and headers in each OpenAPI document, compared with guards and responses."""

import json
from typing import Any

import jsonschema
import pytest

from tests.unit.common.environment import TOKENS
from tests.unit.common.services import SERVICES, Endpoint, ask, build, endpoints

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def document(service: str) -> Any:
    return json.loads((await ask(build(service), "GET", "/schema/openapi.json")).body)


async def operations() -> list[tuple[Endpoint, Any]]:
    """Return every documented operation with its description."""
    documents = {service: await document(service) for service in SERVICES}
    return [
        (endpoint, operation)
        for endpoint in endpoints(*METHODS)
        if (operation := documents[endpoint.service]["paths"].get(endpoint.template, {}).get(endpoint.method.lower()))
    ]


async def test_every_endpoint_except_pages_and_metrics_is_documented() -> None:
    described = {endpoint for endpoint, _ in await operations()}
    missing = {
        endpoint for endpoint in endpoints(*METHODS) if endpoint.path.startswith(("/api", "/health"))
    } - described
    assert missing == set()
    assert len(described) > 30


async def test_documented_security_matches_enforced_access() -> None:
    """Without a token, and with one of each level: refused exactly where the document requires another level."""
    bearers = {"none": [], "service": [(b"authorization", f"Bearer {TOKENS[0]}".encode())]}
    bearers["operator"] = [(b"authorization", f"Bearer {TOKENS[2]}".encode())]
    for endpoint, operation in await operations():
        wanted = [entry.get("bearer") for entry in operation["security"]]
        for level, headers in bearers.items():
            answer = await ask(
                build(endpoint.service, RATE_LIMIT_PER_MINUTE="0"), endpoint.method, endpoint.path, headers
            )
            is_open = not wanted or None in wanted
            if is_open or [level] in wanted:
                assert answer.status not in {401, 403}, (endpoint, level)
            else:
                assert answer.status == (401 if level == "none" else 403), (endpoint, level)
                assert str(answer.status) in operation["responses"], (endpoint, level)


async def test_every_operation_with_an_idempotency_key_documents_its_pattern_and_enforces_it() -> None:
    found = set()
    for endpoint, operation in await operations():
        for parameter in operation.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"]), (endpoint, parameter["name"])
            if parameter["name"] == "Idempotency-Key":
                assert parameter["required"]
                assert "pattern" in parameter["schema"]
                headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {TOKENS[2]}".encode())]
                answer = await ask(build(endpoint.service), "POST", endpoint.path, headers, content=b"{}")
                assert (answer.status, answer.slug) == (400, "idempotency-key-missing")
                found.add(endpoint.template)
    assert found == {"/api/orders", "/api/inventory/{item_id}/restock"}


async def test_every_response_has_the_headers_documented_as_required() -> None:
    for endpoint, operation in await operations():
        documented = (await document(endpoint.service))["components"]["headers"]
        for host, origin in ((b"evil.example", b"http://evil.example"), (b"localhost", b"http://evil.example")):
            answer = await ask(
                build(endpoint.service), endpoint.method, endpoint.path, [(b"origin", origin)], host=host
            )
            response = operation["responses"].get(str(answer.status))
            if answer.status == 500 and response is None:
                continue  # without a lifespan there is no database
            assert response is not None, (endpoint, answer.status)
            required = {name for name in response["headers"] if documented[name].get("required")}
            assert {name.lower() for name in required} <= answer.headers.keys(), (endpoint, answer.status)


@pytest.mark.parametrize("body", [{"order_id": None, "all": False}, {}, {"order_id": "x", "all": True}])
async def test_the_requeue_schema_allows_one_order_or_all(body: dict[str, Any]) -> None:
    described = (await document("order"))["paths"]["/api/admin/queue/requeue"]["post"]["requestBody"]
    schema = described["content"]["application/json"]["schema"]
    assert not jsonschema.Draft202012Validator(schema).is_valid(body)
    assert jsonschema.Draft202012Validator(schema).is_valid({"all": True})
    assert jsonschema.Draft202012Validator(schema).is_valid({"order_id": "00000000-0000-0000-0000-000000000007"})
