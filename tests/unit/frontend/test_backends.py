"""Requests of the dashboard to a service with several replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.common.http_client import open_session
from services.frontend import backends
from services.frontend.backends import Backend, NoResponse, Refused, ServiceResponse, decode
from services.frontend.wire import OrderEvents, Queue
from valerix_cli.local.ports import free_port

QUEUE = {"depth": 3, "oldest_age_seconds": 1.5, "dead": 0, "cap": 9, "something new": True}


class Replica:
    """A real server that records its requests."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        match request.path:
            case "/queue":
                return web.json_response(QUEUE)
            case "/no":
                problem = {
                    "type": "urn:valerix:problem:chaos-halted",
                    "title": "No",
                    "detail": "Lift it",
                    "status": 409,
                }
                return web.json_response(problem, status=409)
            case "/slow":
                await asyncio.sleep(30)
                raise AssertionError("nobody waits that long")
            case "/broken":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case _:
                return web.Response(text="<html>", status=502)


@asynccontextmanager
async def backend(*urls: str) -> AsyncIterator[Backend]:
    async with open_session() as session:
        yield Backend(session, "orders", urls, "token-of-the-operator")


async def test_a_response_is_decoded_by_known_fields_and_the_token_is_sent() -> None:
    replica = Replica()
    async with replica.serving() as url, backend(url) as orders:
        assert await orders.get("/queue", Queue) == Queue(3, 1.5, 0, 9)
    assert replica.asked[0].headers["Authorization"] == "Bearer token-of-the-operator"


async def test_an_unreachable_replica_is_skipped_and_the_responding_one_is_preferred() -> None:
    replica = Replica()
    async with replica.serving() as url, backend(f"http://127.0.0.1:{free_port()}", url) as orders:
        assert (await orders.get("/queue", Queue)).depth == 3
        assert (await orders.get("/queue", Queue)).depth == 3
    assert len(replica.asked) == 2


async def test_a_request_that_may_have_arrived_is_not_sent_to_another_replica() -> None:
    first, second = Replica(), Replica()
    async with first.serving() as one, second.serving() as two, backend(one, two) as orders:
        with pytest.raises(NoResponse, match="orders: the connection closed before a response"):
            await orders.request("POST", "/broken")
    assert (len(first.asked), len(second.asked)) == (1, 0)


async def test_a_frozen_replica_is_not_asked_first_again() -> None:
    frozen, other = Replica(), Replica()
    async with frozen.serving() as one, other.serving() as two, backend(one, two) as orders:
        with pytest.raises(NoResponse, match="no response"):
            await orders.request("GET", "/slow", limit=0.1)
        assert (await orders.get("/queue", Queue)).depth == 3
    assert (len(frozen.asked), len(other.asked)) == (1, 1)


async def test_every_client_error_counts_as_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    async with backend("http://127.0.0.1:1") as orders:
        monkeypatch.setattr(aiohttp.ClientSession, "_request", broken)
        with pytest.raises(NoResponse, match="the connection closed"):
            await orders.request("GET", "/queue")


async def test_a_missing_response_has_its_reason() -> None:
    replica = Replica()
    async with backend(f"http://127.0.0.1:{free_port()}") as orders:
        with pytest.raises(NoResponse, match="orders: connection refused"):
            await orders.request("GET", "/queue")
    async with replica.serving() as url, backend(url) as orders:
        with pytest.raises(NoResponse, match=r"orders: no response within 0\.1 s"):
            await orders.request("GET", "/slow", limit=0.1)


async def test_a_problem_document_is_a_refusal_and_other_errors_are_invalid() -> None:
    replica = Replica()
    async with replica.serving() as url, backend(url) as orders:
        with pytest.raises(Refused, match="Lift it") as refused:
            decode(await orders.request("POST", "/no", json={}), Queue)
        assert refused.value.problem.slug == "chaos-halted"
        with pytest.raises(NoResponse, match="the response with status 502"):
            await orders.get("/elsewhere", Queue)


async def test_a_name_with_several_addresses_is_several_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the pods of a cluster start and stop: the name is resolved again every few seconds."""
    monkeypatch.setattr(backends, "DNS_REFRESH_INTERVAL", 0.0)
    known = {"order-pods": ["10.0.0.2", "10.0.0.1"], "alone": ["10.0.0.9"], "six": ["fd00::2", "fd00::1"]}

    async def resolve(host: str) -> list[str]:
        return known[host]

    urls = ("http://order-pods:3001", "http://alone:3001", "http://six:3001/base", "https://order-pods:3001")
    async with open_session() as session:
        orders = Backend(session, "orders", urls, "token-of-the-operator", resolve)
        await orders.find_replicas()
        first, second, alone, *rest = orders.urls
        assert (first, second) == ("http://10.0.0.1:3001", "http://10.0.0.2:3001")
        assert alone == "http://alone:3001"
        assert rest == ["http://[fd00::1]:3001/base", "http://[fd00::2]:3001/base", "https://order-pods:3001"]
        known["order-pods"] = ["10.0.0.3"]
        await orders.find_replicas()
        assert orders.urls[0] == "http://order-pods:3001"


async def test_replicas_stay_the_same_when_name_resolution_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "DNS_REFRESH_INTERVAL", 0.0)
    answers = iter([["10.0.0.1", "10.0.0.2"]])

    async def resolve(_: str) -> list[str]:
        try:
            return next(answers)
        except StopIteration:
            raise OSError("no such host") from None

    async with open_session() as session:
        orders = Backend(session, "orders", ("http://order-pods:3001",), "token-of-the-operator", resolve)
        await orders.find_replicas()
        before = orders.urls
        await orders.find_replicas()
        assert orders.urls == before == ("http://10.0.0.1:3001", "http://10.0.0.2:3001")


async def test_local_addresses_are_one_replica_each() -> None:
    async with backend("http://localhost:3001", "http://127.0.0.1:3011") as orders:
        await orders.find_replicas()
        assert orders.urls == ("http://localhost:3001", "http://127.0.0.1:3011")


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b"", Queue),
        (200, b"\xff", Queue),
        (200, b"[" * 9_999, Queue),
        (200, b'{"events": [{"at": "2026-01-01T00:00:00Z", "to": "x", "detail": {"x": ' + b"[" * 9_999, OrderEvents),
        (200, b'{"events": [{"at": "2026-01-01T00:00:00", "to": "x"}]}', OrderEvents),
        (200, b'{"events": [{"at": "2026-01-01T00:00:00Z", "to": "\xff"}]}', OrderEvents),
        (200, b'{"depth": 1' + b"0" * 5_000 + b', "dead": 0, "cap": 0}', Queue),
        (409, b'{"type": "x", "title": "x", "detail": "x", "status": 99999}', Queue),
        (409, b'{"type": "x", "title": "x", "detail": "x", "status": 0}', Queue),
    ],
)
def test_an_invalid_response_counts_as_no_response(status: int, content: bytes, kind: Any) -> None:
    with pytest.raises(NoResponse, match=f"the response with status {status} is invalid"):
        decode(ServiceResponse(status, {}, content, 1.0), kind)
