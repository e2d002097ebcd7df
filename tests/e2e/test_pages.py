"""A real browser on hostile pages: one that rebinds its name, and one of another origin."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.e2e.shop import Shop

ORDER = """async ([url, headers, mode]) => {
    try {
        const body = '{"item_id":"pages","quantity":1}';
        const answer = await fetch(url, {method: "POST", mode: mode, headers: headers, body: body});
        return [answer.status, await answer.text()];
    } catch (error) { return ["failed", String(error)]; }
}"""
READ = """async (url) => { try { return await (await fetch(url)).text(); } catch (error) { return "failed"; } }"""
KEYED = {"Content-Type": "application/json", "Idempotency-Key": "from-a-page"}


class _Hostile(BaseHTTPRequestHandler):
    """Serves a page under any name."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>hostile</title>")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def hostile() -> Iterator[int]:
    """Port of a server with hostile pages."""
    with HTTPServer(("127.0.0.1", 0), _Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that resolves every name to this machine, as after DNS rebinding."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--host-resolver-rules=MAP *.example 127.0.0.1"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(bypass_csp=True)  # the hostile page was loaded before its name was rebound
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def shop(open_shop: Shop) -> Shop:
    open_shop.stock("pages", 100)
    return open_shop


def orders(shop: Shop) -> list[Any]:
    found: list[Any] = shop.client.get(f"{shop.order.url}/api/orders").json()["orders"]
    return found


def test_a_page_that_rebinds_its_host_name_reads_and_orders_nothing(shop: Shop, page: Page) -> None:
    before = orders(shop)
    answer = page.goto(f"http://evil.example:{shop.order.port}/nothing")
    assert answer is not None
    assert answer.status == 421
    assert page.evaluate(ORDER, ["/api/orders", KEYED, "same-origin"])[0] == 421
    assert "misdirected-request" in page.evaluate(READ, "/api/orders")
    assert orders(shop) == before


def test_a_page_of_another_origin_changes_nothing(shop: Shop, page: Page, hostile: int) -> None:
    before = orders(shop)
    page.goto(f"http://evil.example:{hostile}/")
    target = f"{shop.order.url}/api/orders"
    for headers, mode in ((KEYED, "cors"), ({"Content-Type": "text/plain"}, "no-cors"), ({}, "no-cors")):
        status, _ = page.evaluate(ORDER, [target, headers, mode])
        assert status in {"failed", 0}
    assert page.evaluate(READ, target) == "failed"
    assert orders(shop) == before


def test_a_page_of_another_port_of_this_machine_changes_nothing(shop: Shop, page: Page, hostile: int) -> None:
    """A page of another program on this machine is same-site, but of another origin."""
    before = orders(shop)
    page.goto(f"http://127.0.0.1:{hostile}/")
    seen: list[int] = []
    page.on("response", lambda response: seen.append(response.status))
    page.set_content(
        f'<form method="post" enctype="text/plain" action="{shop.order.url}/api/orders">'
        """<input name='{"item_id":"pages","quantity":1,"x":"' value='"}'></form>"""
    )
    with page.expect_navigation():
        page.evaluate("document.forms[0].submit()")
    assert seen == [403]
    assert "cross-origin" in page.content()
    assert orders(shop) == before
