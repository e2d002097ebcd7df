"""All applications of Valerix, without dependencies, and all of their endpoints."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import Message

from services.common.fast_route import FastRoute
from services.common.middleware import RequestMiddleware
from services.common.settings import read
from services.frontend.app import build as build_frontend
from services.frontend.settings import FrontendSettings
from services.inventory.app import build as build_inventory
from services.inventory.settings import InventorySettings
from services.order.app import build as build_order
from services.order.settings import OrderSettings
from services.order.worker import build as build_worker
from tests.unit.common.environment import ENVIRON, TOKENS

SERVICES = ("order", "worker", "inventory", "frontend")
FRONTEND = {
    "VALERIX_ORDER_URL": "http://127.0.0.1:1",
    "VALERIX_OPERATOR_TOKEN": TOKENS[2],
    "VALERIX_DASHBOARD_PASSWORD": "d-5b8e02f7a1c94d36",
}
EXAMPLES = {"uuid": "00000000-0000-0000-0000-000000000007", "str": "ps5", "int": "7", "path": "x"}

Lines = Sequence[tuple[bytes, bytes]]


class Endpoint(NamedTuple):
    """A method of a route, and a path that matches it."""

    service: str
    method: str
    template: str
    path: str


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def slug(self) -> str | None:
        """The type of the problem, or None if the response is no problem document."""
        if self.headers.get("content-type") != "application/problem+json" or not self.body:
            return None
        kind: str = msgspec.json.decode(self.body)["type"]
        return kind.removeprefix("urn:valerix:problem:")


@functools.cache
def build(service: str, **variables: str) -> RequestMiddleware:
    """Return a service with these settings, named without their prefix.

    Chaos is allowed, so that its endpoints exist.
    """
    environ = ENVIRON | FRONTEND | {"VALERIX_CHAOS_ALLOWED": "1"}
    environ |= {f"VALERIX_{name}": value for name, value in variables.items()}
    match service:
        case "order":
            return build_order(read(OrderSettings, environ))
        case "worker":
            return build_worker(read(OrderSettings, environ))
        case "inventory":
            return build_inventory(read(InventorySettings, environ))
        case _:
            return build_frontend(read(FrontendSettings, environ))


def application(edge: RequestMiddleware) -> Litestar:
    """Return the Litestar application inside the outermost layer."""
    app = edge.app.app if isinstance(edge.app, FastRoute) else edge.app
    assert isinstance(app, Litestar)
    return app


def endpoints(*methods: str) -> list[Endpoint]:
    """Return the endpoints of every service with one of `methods`; by default, with any but OPTIONS and HEAD."""
    found = []
    for service in SERVICES:
        for route in application(build(service)).routes:
            if isinstance(route, HTTPRoute):
                path = re.sub(r"\{[^:}]*:(\w+)\}", lambda part: EXAMPLES[part[1]], route.path)
                found += [
                    Endpoint(service, method, route.path_format, path)
                    for method in sorted(route.methods)
                    if method in (methods or {"GET", "POST", "DELETE", "PUT", "PATCH"})
                ]
    return sorted(found)


async def ask(
    edge: RequestMiddleware,
    method: str,
    path: str,
    headers: Lines = (),
    *,
    host: bytes | None = b"localhost",
    content: bytes = b"",
    http_version: str = "1.1",
) -> Answer:
    """Send one request as a server does; without a database, 500 is a possible response."""
    path, _, query = path.partition("?")
    sent: list[Any] = []
    incoming: list[Any] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*([] if host is None else [(b"host", host)]), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "root_path": "",
        "http_version": http_version,
        "state": {},
    }
    await edge(scope, receive, send)
    response_headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], response_headers, b"".join(message.get("body", b"") for message in sent[1:]))
