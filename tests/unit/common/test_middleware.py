"""Processing common to all requests: request id, security headers, metrics."""

import re
from typing import Any

import httpx
import pytest
from litestar.types import ASGIApp, Message
from prometheus_client import REGISTRY

from tests.unit.common.bare_service import build, client

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}

REQUESTS = [
    ("GET", "/things/7", 200),
    ("GET", "/stream", 200),
    ("GET", "/metrics", 200),
    ("GET", "/schema/openapi.json", 200),
    ("OPTIONS", "/things", 204),
    ("HEAD", "/nothing", 404),
    ("GET", "/nothing", 404),
    ("GET", "/%00/%ff", 404),
    ("DELETE", "/things/7", 405),
    ("BREW", "/things/7", 405),
    ("POST", "/things", 415),
    ("GET", "/operator", 401),
    ("GET", "/things/7?size=x", 400),
    ("GET", "/fail/refusal", 429),
    ("GET", "/fail/operational", 503),
    ("GET", "/fail/bug", 500),
    ("POST", "/broken", 500),
]


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS)
async def test_every_response_has_the_security_headers_and_a_request_id(method: str, path: str, status: int) -> None:
    async with client() as things:
        answer = await things.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert all(len(answer.headers.get_list(name)) == 1 for name in (*SECURITY, "x-request-id"))
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("good", ["r", "0123456789abcdef", "req-1:2.3_4", "r" * 128])
async def test_a_well_formed_request_id_is_echoed(good: str) -> None:
    async with client() as things:
        for path in ("/things/7", "/nothing", "/fail/bug"):
            assert (await things.get(path, headers={"X-Request-ID": good})).headers["x-request-id"] == good


@pytest.mark.parametrize(
    "bad",
    [b"", b" ", b"a b", b"r" * 129, b"a\tb", b"<script>", b'"', b"a\x7fb", b"\xff\xfe", b"a;b", b"a/b", b"%0d%0a"],
)
async def test_any_other_request_id_is_replaced(bad: bytes) -> None:
    async with client() as things:
        answer = await things.get("/things/7", headers=[(b"X-Request-ID", bad)])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_two_requests_have_two_ids() -> None:
    async with client() as things:
        first, second = [(await things.get("/things/7")).headers["x-request-id"] for _ in range(2)]
    assert first != second


def series() -> set[str]:
    """Return every series on the metrics page, by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}" for metric in REGISTRY.collect() for sample in metric.samples
    }


def count(**labels: str) -> float:
    return REGISTRY.get_sample_value("http_request_duration_seconds_count", labels) or 0


async def test_requests_are_counted_by_route_and_not_by_path() -> None:
    before = count(method="GET", route="/things/{number}", status="200")
    async with client() as things:
        for number in range(3):
            await things.get(f"/things/{number}")
    assert count(method="GET", route="/things/{number}", status="200") == before + 3


async def test_failures_are_counted_by_response_status() -> None:
    before = count(method="GET", route="/fail/{how}", status="500")
    async with client() as things:
        await things.get("/fail/bug")
    assert count(method="GET", route="/fail/{how}", status="500") == before + 1


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/live", "/health/ready"])
async def test_health_and_metrics_are_not_measured(path: str) -> None:
    async with client() as things:
        before = measured()
        await things.get(path)
        assert measured() == before
        await things.get("/nothing")
        assert measured() == before + 1


def measured() -> float:
    """Return the number of requests measured, over all series."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "http_request_duration_seconds_count"
    )


async def test_ten_thousand_paths_and_methods_add_a_handful_of_series() -> None:
    app = build()
    for method in ("GET", "POST", "OTHER", "BREW"):
        for path in ("/nothing", "/things/1"):
            await send(app, method, path)
    before = series()
    for number in range(10_000):
        await send(app, ("GET", "POST", f"M{number}", "BREW")[number % 4], f"/{'things/' * (number % 3)}{number}")
    assert series() - before == set()


async def send(app: ASGIApp, method: str, path: str) -> None:
    """Send one request as a server does; much faster than with a client library."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ignore(_: Message) -> None: ...

    scope: Any = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "root_path": "",
        "http_version": "1.1",
    }
    await app(scope, receive, ignore)


async def test_requests_in_flight_are_counted_until_they_end_in_any_way() -> None:
    before = REGISTRY.get_sample_value("http_requests_in_flight")
    async with client() as things:
        for path in ("/things/7", "/nothing", "/fail/bug"):
            await things.get(path)
    assert REGISTRY.get_sample_value("http_requests_in_flight") == before


async def test_a_streamed_response_is_complete() -> None:
    async with client() as things:
        answer: httpx.Response = await things.get("/stream")
    assert answer.text == "one\ntwo\n"
