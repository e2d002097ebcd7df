"""Text from the services is escaped: on every page and in the feed, in each field."""

import json
import re
import shlex
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import httpx
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.frontend import wire
from tests.integration.frontend.conftest import Dashboards
from tests.processes import eventually

MARKUP = "<img src=x onerror=alert(1)>\"'></script><svg/onload=alert(2)>{{7*7}}\u202e\u2066\u200b\x1b[31m\x85\x00&lt;b>"
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
ORDER_ID = UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")
ANSWERS: dict[str, Any] = {
    "/health": wire.Health,
    "/api/admin/breaker": wire.Breaker,
    "/api/admin/queue": wire.Queue,
    "/api/orders": wire.OrderPage,
    "/api/admin/chaos": wire.Chaos,
    "/api/inventory": wire.Items,
    f"/api/orders/{ORDER_ID}": wire.Order,
    f"/api/orders/{ORDER_ID}/events": wire.OrderEvents,
    f"/api/inventory/transactions/{ORDER_ID}": wire.Ledger,
}


def hostile(kind: Any) -> Any:
    """Return an example of a type in which every text is active markup."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.encode_name: hostile(field.type) for field in msgspec.structs.fields(kind)}
    if origin is Literal:
        return "open" if "open" in arguments else arguments[0]
    if origin in {Union, UnionType, Annotated}:
        return hostile(next(one for one in arguments if one is not NoneType))
    if origin is list:
        return [hostile(arguments[0])]
    if origin is dict:
        return {MARKUP: hostile(arguments[1])}
    examples: dict[Any, Any] = {
        str: MARKUP,
        int: 1,
        float: 1.0,
        bool: False,
        datetime: datetime.now(UTC).isoformat(),
        UUID: str(ORDER_ID),
        Any: MARKUP,
    }
    return examples[kind]


async def answer(request: web.Request) -> web.Response:
    if request.path == "/metrics":
        return web.Response(text=f'orders_created_total{{status="{"confirmed"}"}} 1\n')
    if request.method == "POST" or request.path not in ANSWERS:
        problem = {"type": f"urn:valerix:problem:{MARKUP}", "title": MARKUP, "detail": MARKUP, "status": 409}
        return web.json_response(problem, status=409)
    return web.json_response(hostile(ANSWERS[request.path]))


@pytest.fixture
async def services_url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


class Elements(HTMLParser):
    """Parses a page as a browser does: its elements with their attributes' names, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements |= {(tag, name) for name, _ in attrs}
        self.text += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def problems_of(page: str) -> list[str]:
    found = Elements(page)
    wrong = [f"<{tag} {name}>" for tag, name in found.elements if tag == "img" or name.startswith("on")]
    wrong += [f"{ord(one.group()):#x}" for one in UNSEEN.finditer(page)]
    return wrong + (["49: an expression was evaluated"] if "49" in re.findall(r"onload=alert\(2\)>(\d+)", page) else [])


def structs(kind: Any) -> set[str]:
    """Return the names of the structs in a type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {kind.__name__}.union(*(structs(field.type) for field in msgspec.structs.fields(kind)))
    return set().union(*(structs(part) for part in get_args(kind)))


def test_every_type_that_the_dashboard_reads_is_among_the_test_responses() -> None:
    response = {
        one.__name__ for one in vars(wire).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)
    }
    assert response == set().union(*map(structs, [*ANSWERS.values(), wire.Audit, wire.Problem]))


async def test_markup_and_bidi_characters_from_the_services_are_escaped_everywhere(
    dashboards: Dashboards, services_url: str, tmp_path: Path
) -> None:
    import asyncio  # noqa: PLC0415 - the services of this test answer from its own event loop

    found = tmp_path / "audit.json"
    found.write_text(json.dumps(hostile(wire.Audit)))
    await asyncio.to_thread(_look, dashboards, services_url, f"cat {shlex.quote(str(found))}")


def _look(dashboards: Dashboards, url: str, audit: str) -> None:
    dashboard = dashboards.start(
        AUDIT_COMMAND=audit, ORDER_URL=url, INVENTORY_URL=url, WORKER_URL=url, REFRESH_INTERVAL_SECONDS="0.2"
    )
    operator = dashboard.operator()
    eventually(lambda: "onerror=alert" in Elements(operator.get("/").text).text)
    pages = {path: operator.get(path).text for path in ("/", f"/orders/{ORDER_ID}")}
    token = re.search(r'_csrf_token" value="(\w+)"', pages["/"])
    assert token is not None
    form = {"_csrf_token": token[1], "item_id": MARKUP[:60], "quantity": "1", "halted": "true"}
    for path in ("/orders", "/restock", "/chaos/halt", "/audit"):
        operator.post(path, data=form)
        pages[f"after {path}"] = operator.get("/").text
        response = operator.post(path, data=form, headers={"Accept": "application/json"})
        is_page = response.headers["content-type"].startswith("text/html")
        pages[f"{path} by script"] = response.text if is_page else ""
        says = "" if is_page else response.json()["message"]
        assert UNSEEN.findall(says) == []
    with httpx.stream("GET", f"{dashboard.url}/feed", timeout=10) as feed:
        lines = iter(feed.iter_lines())
        data = json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))
    pages |= {f"panel {name}": html for name, html in data["panels"].items()}
    assert {name: wrong for name, page in pages.items() if (wrong := problems_of(page))} == {}
    shown = [name for name, page in pages.items() if r"\u202e" in page]
    assert {
        "/",
        f"/orders/{ORDER_ID}",
        "after /restock",
        "/orders by script",
        "panel stock",
        "panel orders",
        "panel audit",
    } <= {*shown}
