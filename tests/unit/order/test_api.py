"""Invalid requests to the order service, refused before any access to the database."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.settings import read
from services.order.api import CURSOR, _cursor, _position
from services.order.app import build
from services.order.settings import OrderSettings
from services.order.worker import build as build_worker
from tests.unit.common.environment import ENVIRON, TOKENS


@pytest.fixture
async def orders() -> AsyncIterator[httpx.AsyncClient]:
    """Client of the order service as an operator, without a database."""
    transport = httpx.ASGITransport(app=build(read(OrderSettings, ENVIRON)))  # type: ignore[arg-type]  # two types of the same protocol
    headers = {"Authorization": f"Bearer {TOKENS[2]}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/api/orders?limit=0", "invalid-request"),
        ("/api/orders?limit=501", "invalid-request"),
        ("/api/orders?limit=1.5", "invalid-request"),
        ("/api/orders?status=lost", "invalid-request"),
        ("/api/orders?status=", "invalid-request"),
        ("/api/orders?item_id=", "invalid-request"),
        ("/api/orders?item_id=%00", "invalid-request"),
        ("/api/orders?item_id=ps5%0A", "invalid-request"),
        ("/api/orders?item_id=%FF", "invalid-request"),
        ("/api/orders?item_id=" + "x" * 65, "invalid-request"),
        ("/api/orders?cursor=", "invalid-parameter"),
        ("/api/orders?cursor=%00", "invalid-parameter"),
        ("/api/orders?cursor=%C3%A9", "invalid-parameter"),
        ("/api/orders?cursor=MA", "invalid-parameter"),  # 0
        ("/api/orders?cursor=LTE", "invalid-parameter"),  # -1
        ("/api/orders?cursor=OTIyMzM3MjAzNjg1NDc3NTgwOA", "invalid-parameter"),  # 2**63
        ("/api/orders?cursor=" + "A" * 65, "invalid-request"),
        ("/api/orders?cursor=MTIz%3D", "invalid-parameter"),
        ("/api/orders?cursor=MTI!z", "invalid-parameter"),
        ("/api/orders?cursor=MTIz%0A", "invalid-parameter"),
        ("/api/orders?cursor=MTJ", "invalid-parameter"),  # bits that no cursor sets
        ("/api/orders?cursor=MDE", "invalid-parameter"),  # 01
        ("/api/orders?cursor=KzE", "invalid-parameter"),  # +1
        ("/api/orders?status=null", "invalid-parameter"),
        ("/api/orders?status=null&status=dead", "invalid-parameter"),
        *((f"/api/orders?{one}=1&{one}=1", "invalid-parameter") for one in ("item_id", "limit", "idempotency_key")),
        ("/api/orders?cursor=MTIz&cursor=MTIz", "invalid-parameter"),
        ("/api/orders?status=dead&status=failed", "invalid-parameter"),
    ],
)
async def test_a_bad_parameter_is_400(orders: httpx.AsyncClient, path: str, slug: str) -> None:
    answer = await orders.get(path)
    assert (answer.status_code, answer.json()["type"]) == (400, f"urn:valerix:problem:{slug}")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"all":false}',
        b'{"all":true,"order_id":"00000000-0000-0000-0000-000000000007"}',
        b'{"order_id":"7"}',
        b'{"all":"true"}',
        b'{"everything":true}',
    ],
)
async def test_a_requeue_needs_one_order_or_all(orders: httpx.AsyncClient, body: bytes) -> None:
    answer = await orders.post("/api/admin/queue/requeue", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:valerix:problem:invalid-body")


@pytest.mark.parametrize("body", [b"{}", b'{"state":"half-open"}', b'{"state":null}', b'{"state":"open","for":5}'])
async def test_a_breaker_can_be_forced_open_closed_or_made_automatic(orders: httpx.AsyncClient, body: bytes) -> None:
    answer = await orders.post("/api/admin/breaker", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:valerix:problem:invalid-body")


async def test_the_worker_serves_only_health_endpoints() -> None:
    transport = httpx.ASGITransport(app=build_worker(read(OrderSettings, ENVIRON)))  # type: ignore[arg-type]  # two types of the same protocol
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as worker:
        assert (await worker.get("/health/live")).json()["service"] == "worker"
        assert (await worker.get("/metrics")).status_code == 200
        assert (await worker.get("/api/orders")).status_code == 404


@given(st.integers(1, 10**17 - 1))
def test_every_cursor_has_the_documented_form_and_is_decoded_unchanged(position: int) -> None:
    assert re.fullmatch(CURSOR, _cursor(position))
    assert _position(_cursor(position)) == position


@given(st.from_regex(CURSOR, fullmatch=True))
def test_every_cursor_of_the_documented_form_is_accepted(cursor: str) -> None:
    assert 0 < _position(cursor) < 2**63
