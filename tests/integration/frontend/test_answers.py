"""The dashboard with arbitrary responses of the services: no page fails, and invalid responses are reported."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integration.frontend.conftest import Dashboard, Dashboards, form_token
from tests.integration.frontend.test_escaping import ANSWERS, ORDER_ID, hostile
from tests.integration.frontend.test_hostile import FILLED, FORMS
from tests.processes import eventually

DECODE_ERRORS: dict[str, tuple[int, bytes]] = {
    "empty": (200, b""),
    "not UTF-8": (200, b'{"orders": [{"item_id": "\xff\xfe\x80"}]}'),
    "nested": (200, b"[" * 100_000),
    "nested in a detail": (
        200,
        b'{"events": [{"at": "2026-01-01T00:00Z", "to": "x", "detail": {"x": ' + b"[" * 9_999,
    ),
    "huge numbers": (200, json.dumps({"depth": 10**400, "dead": 0, "cap": 0}).encode()),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "markup": (502, b"<html><body>Bad Gateway"),
    "a problem with a strange status": (409, b'{"type": "x", "title": "x", "detail": "x", "status": 99999}'),
    "a problem with status 0": (409, b'{"type": "x", "title": "x", "detail": "x", "status": 0}'),
    "a strange status": (299, b"{}"),
    "a redirect": (307, b""),
}


class Service:
    """Sends the same response to every request: `answer`, or if it is None a regular one with times without a zone."""

    answer: tuple[int, bytes] | None = None
    asked = 0

    async def reply(self, request: web.Request) -> web.Response:
        self.asked += 1
        headers = {"Location": "http://127.0.0.1:9/"}
        if self.answer is not None:
            return web.Response(status=self.answer[0], body=self.answer[1], headers=headers)
        content = json.dumps(hostile(ANSWERS.get(request.path, str)))
        return web.Response(text=content.replace("+00:00", "").replace("1.0", "0.0"), headers=headers)


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, str]]:
    answering = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering.reply)
    async with TestServer(app) as server:
        yield answering, str(server.make_url("")).rstrip("/")


@pytest.mark.long
async def test_no_response_of_a_service_causes_a_500(dashboards: Dashboards, service: tuple[Service, str]) -> None:
    answering, url = service
    dashboard = await asyncio.to_thread(
        dashboards.start, ORDER_URL=url, INVENTORY_URL=url, WORKER_URL=url, REFRESH_INTERVAL_SECONDS="0.05"
    )
    for name, answer in [("as usual, without zones", None), *DECODE_ERRORS.items()]:
        answering.answer = answer
        wrong = await asyncio.to_thread(_visit, dashboard, answering)
        assert wrong == [], name
    log = dashboard.service.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


def _visit(dashboard: Dashboard, answering: Service) -> list[tuple[str, int]]:
    """Return the pages and forms with a 500, after two polls of the services."""
    looks = answering.asked
    browser = dashboard.operator()
    eventually(lambda: answering.asked > looks + 20)
    token = form_token(browser.get("/").text)
    found = [(path, browser.get(path).status_code) for path in ("/", f"/orders/{ORDER_ID}")]
    for path in FORMS:
        for accept in ("text/html", "application/json"):
            answer = browser.post(path, data=FILLED | {"_csrf_token": token}, headers={"Accept": accept})
            found.append((path, answer.status_code))
    return [(path, status) for path, status in found if status not in {*range(200, 500), 502, 503}]
