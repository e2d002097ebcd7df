"""HEAD responses equal those of GET without the body, on every service over real connections."""

import socket

import pytest

from services.frontend.app import ASSETS
from tests.contract.conftest import OPERATOR, Platform
from tests.processes import OPERATOR_TOKEN
from tests.unit.common.services import Endpoint, endpoints

VARYING = {"date", "x-request-id", "set-cookie", "transfer-encoding"}
LIVE = ("/metrics", "/health", "/?")  # their content, and so its length, changes over time
PAGES = [
    *(page._replace(path="/?") if page.path == "/" else page for page in endpoints("GET")),
    Endpoint("frontend", "GET", "", f"{ASSETS}/page.js"),
    *(Endpoint(service, "GET", "", "/nothing") for service in ("order", "worker", "inventory", "frontend")),
    Endpoint("order", "GET", "", "/api/orders?limit=0"),
]


def head(platform: Platform, page: Endpoint, *lines: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers, and any bytes that follow them until the connection ends."""
    sent = [f"HEAD {page.path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {OPERATOR_TOKEN}", *lines]
    with socket.create_connection(("127.0.0.1", platform.services[page.service].port), timeout=5) as connection:
        connection.sendall("\r\n".join([*sent, "", ""]).encode())
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    first, _, rest = received.partition(b"\r\n")
    fields, _, body = rest.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in fields.decode().split("\r\n"))
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.service}{page.path}")
def test_head_is_get_without_the_body(platform: Platform, page: Endpoint) -> None:
    sent = OPERATOR | {"Accept-Encoding": "identity"}
    with platform.shop.client.stream("GET", platform.url(page.service, page.path), headers=sent) as got:
        wanted = {name.lower(): value.lower() for name, value in got.headers.items()}
    status, headers, body = head(platform, page, "Connection: close")
    headers.pop("connection", None)
    assert (status, body) == (got.status_code, b"")
    assert headers.keys() - VARYING == wanted.keys() - VARYING
    ignored = VARYING | (
        {"content-length"} if page.path.startswith(LIVE[:2]) or page.path == "/" or status >= 400 else set()
    )
    assert {name: headers[name] for name in headers.keys() - ignored} == {
        name: wanted[name] for name in wanted.keys() - ignored
    }
