"""The dashboard in a real browser, on a real platform with real faults."""

import contextlib
import gzip
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.browser.conftest import SLOW, Dashboard
from tests.browser.page import panel, place, violations
from tests.processes import eventually

expect.set_options(timeout=SLOW)


def test_an_order_appears_in_the_feed_and_its_repeat_places_no_second_order(dashboard: Dashboard) -> None:
    with dashboard.operate() as page:
        place(page, "browser-once")
        placed = page.locator("#placed")
        expect(placed).to_contain_text("confirmed")
        row = panel(page, "orders").locator("tr", has_text="browser-once")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("confirmed")
        page.get_by_role("button", name="Send again with the same key").click()
        expect(placed).to_contain_text("replayed: the stored response, no second order")
        expect(row).to_contain_text("sent 2 times, one order")
        expect(row).to_have_count(1)
        page.get_by_role("button", name="with another cart").click()
        expect(placed).to_contain_text("idempotency-key-reused")
    assert [one["quantity"] for one in dashboard.valerix.json("order", "list") if "once" in one["idempotency_key"]] == [
        1
    ]


def test_an_order_is_shown_step_by_step_across_both_services(dashboard: Dashboard) -> None:
    with dashboard.operate() as page:
        place(page, "browser-trace")
        page.locator("#placed").get_by_role("link").click()
        steps = page.get_by_role("row")
        expect(steps.filter(has_text="new → pending")).to_have_count(1)
        expect(steps.filter(has_text="deduct -1")).to_contain_text("inventory")
        expect(steps.filter(has_text="pending → confirmed")).to_have_count(1)


@pytest.mark.long
def test_latency_opens_the_breaker_and_the_page_recovers_when_its_lease_ends(
    dashboard: Dashboard,
) -> None:
    with dashboard.operate() as page:
        headline, lane = panel(page, "headline"), panel(page, "breaker").locator(".lane", has_text="order-1")
        expect(headline).to_contain_text("All is well.")
        page.locator("#chaos summary", has_text="Choose").click()
        page.get_by_label("Ends by itself after").fill("8")
        page.get_by_label("Reason").fill("to see")
        page.get_by_role("button", name="Turn these on").click()
        expect(page.locator("#notices")).to_contain_text("Gremlins are on")
        expect(headline).to_contain_text("Injected faults: latency 5 s on 100% of calls.")
        expect(panel(page, "chaos")).to_contain_text("to see")
        expect(panel(page, "chaos").get_by_role("img", name="left")).to_be_visible()
        load = dashboard.valerix.start("load", "--item", "mouse", "--rate", "5/s", "--for", "20s")
        expect(lane).to_contain_text("open")
        expect(headline).to_contain_text("orders are accepted and queued")
        place(page, "browser-queued")
        expect(page.locator("#placed")).to_contain_text("queued")
        expect(headline).to_contain_text("All is well.", timeout=40_000)
        load.communicate(timeout=30)
        expect(lane).to_contain_text("closed")
        expect(panel(page, "chaos")).to_contain_text("No faults are injected.")
        page.locator("#placed").get_by_role("link").click()
        expect(page.get_by_role("row", name="queued → confirmed")).to_have_count(1)


def test_a_restarted_dashboard_streams_fresh_data_without_lost_or_duplicate_updates(
    dashboard: Dashboard,
) -> None:
    with dashboard.operate() as page, dashboard.quietly():
        page.evaluate(
            "window.heard = []; document.addEventListener('valerix:update', (event) => heard.push(event.detail))"
        )
        eventually(lambda: page.evaluate("heard.length") >= 3)
        before = dashboard.valerix.stack()["services"]["frontend"][0]["pid"]
        os.kill(before, signal.SIGKILL)
        expect(page.locator("#age")).to_contain_text("Reconnecting. This is")
        dashboard.valerix("order", "place", "monitor:1", "--key", "browser-meanwhile")
        expect(page.locator("#age")).to_have_text("Live")
        row = panel(page, "orders").locator("tr", has_text="browser-meanwhile")
        expect(row).to_have_count(1)
        eventually(lambda: page.evaluate("heard.filter((one) => one.whole).length") == 1)
        heard = page.evaluate("heard.map((one) => one.id)")
        assert dashboard.valerix.stack()["services"]["frontend"][0]["pid"] != before
    epochs = list(dict.fromkeys(one.split("-")[0] for one in heard))
    assert len(epochs) == 2
    for epoch in epochs:
        ticks = [int(one.split("-")[1]) for one in heard if one.startswith(epoch)]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


def test_everything_works_without_scripts(dashboard: Dashboard) -> None:
    with dashboard.operate(java_script_enabled=False) as page:
        expect(panel(page, "headline")).to_contain_text("All is well.")
        place(page, "browser-plain")
        expect(page.locator("#notices")).to_contain_text("confirmed")
        expect(panel(page, "orders").locator("tr", has_text="browser-plain")).to_contain_text("confirmed")
        page.get_by_role("button", name="Send again with the same key").click()
        expect(page.locator("#notices")).to_contain_text("the stored response, no second order")
        page.locator("#stock form [name=item_id]").select_option("webcam")
        page.locator("#stock form [name=quantity]").fill("5")
        page.get_by_role("button", name="Restock").click()
        expect(page.locator("#notices")).to_contain_text("5 more of webcam.")
        page.locator("#chaos summary", has_text="Moderate").click()
        page.get_by_role("button", name="Turn moderate chaos on").click()
        expect(panel(page, "headline")).to_contain_text("Injected faults")
        page.get_by_role("button", name="Calm: all off").click()
        expect(page.locator("#notices")).to_contain_text("All gremlins are off.")
        page.get_by_role("button", name="Audit both databases").click()
        expect(panel(page, "audit")).to_contain_text("one-order-per-key")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in to act")).to_be_visible()


def test_every_action_works_by_keyboard(dashboard: Dashboard) -> None:
    with dashboard.operate() as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.locator("#orders form.row [name=item_id]").focus()
        page.keyboard.type("Mon")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("browser-keys")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Place the order")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.locator("#placed")).to_contain_text("monitor")
        page.locator("#again-same").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#placed")).to_contain_text("replayed")
        expect(page.locator("#again-same")).to_be_focused()
        page.locator("#chaos summary", has_text="Halt").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(panel(page, "chaos")).to_contain_text("Halted")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(panel(page, "chaos")).to_contain_text("No faults are injected.")


@pytest.mark.parametrize("width", [320, *(pytest.param(width, marks=pytest.mark.long) for width in (768, 1280, 2560))])
def test_nothing_is_cut_off_at_any_width(dashboard: Dashboard, width: int) -> None:
    with dashboard.operate(viewport={"width": width, "height": 800}) as page:
        expect(page.locator("#age")).to_have_text("Live")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(dashboard: Dashboard, axe: str, scheme: Any) -> None:
    with dashboard.operate(color_scheme=scheme) as page:
        place(page, f"browser-axe-{scheme}")
        expect(page.locator("#placed")).to_contain_text("confirmed")
        page.get_by_role("button", name="Audit both databases").click()
        expect(panel(page, "audit")).to_contain_text("one-order-per-key")
        assert violations(page, axe) == []
        page.locator("#chaos summary", has_text="Moderate").click()
        page.get_by_role("button", name="Turn moderate chaos on").click()
        expect(panel(page, "headline")).to_contain_text("Injected faults")
        assert violations(page, axe) == []
        page.get_by_role("button", name="Calm: all off").click()
        expect(panel(page, "headline")).not_to_contain_text("Injected faults")
        page.locator("#placed").get_by_role("link").click()
        assert violations(page, axe) == []
    with dashboard.visit("/sign-in", color_scheme=scheme) as page:
        assert violations(page, axe) == []


def test_visitors_without_sign_in_see_all_panels_and_cannot_act(dashboard: Dashboard) -> None:
    with dashboard.visit() as page:
        expect(panel(page, "health")).to_contain_text("inventory-1")
        expect(page.locator("form")).to_have_count(0)
    assert httpx.get(dashboard.url).status_code == 200
    refused = httpx.post(f"{dashboard.url}/chaos/calm")
    assert refused.status_code == 403


def test_a_cross_site_form_is_refused_even_with_the_cookies_of_an_operator(dashboard: Dashboard) -> None:
    with dashboard.operate() as page:
        theirs = {one["name"]: one["value"] for one in page.context.cookies()}
        token = page.locator("#chaos [name=_csrf_token]").first.get_attribute("value")
    with httpx.Client(base_url=dashboard.url, cookies=theirs) as client:
        forged = client.post("/chaos/halt", data={"halted": "true"}, headers={"Accept": "text/html"})
        assert (forged.status_code, "The form is outdated" in forged.text) == (403, True)
        assert client.post("/chaos/halt", data={"halted": "true", "_csrf_token": "x" * 128}).status_code == 403
        ours = client.post("/chaos/halt", data={"halted": "false", "_csrf_token": token})
        assert (ours.status_code, ours.headers["location"]) == (303, "/#chaos")
    assert dashboard.valerix.json("chaos", "status")["halted"] is False
    assert {one["sameSite"] for one in page_cookies(dashboard)} == {"Strict"}


def page_cookies(dashboard: Dashboard) -> list[Any]:
    with dashboard.operate() as page:
        return list(page.context.cookies())


def test_a_wrong_password_or_a_used_link_does_not_sign_in(dashboard: Dashboard) -> None:
    link = dashboard.valerix.json("dashboard")["sign_in_url"].removeprefix(dashboard.url)
    for signs_in in (True, False):
        with dashboard.visit(link) as page, dashboard.quietly():
            page.get_by_role("button", name="Sign in").click()
            if signs_in:
                expect(page.get_by_role("button", name="Sign out")).to_be_visible()
            else:
                expect(page.get_by_role("alert")).to_contain_text("not the password")


def test_the_operators_token_never_reaches_the_browser(dashboard: Dashboard) -> None:
    secrets = (dashboard.valerix.directory / "state" / "secrets.json").read_text()
    token = httpx.Response(200, text=secrets).json()["operator_token"]
    with dashboard.context() as context:
        page = context.new_page()
        bodies: list[str] = []
        page.on("response", lambda answer: bodies.append(str(answer.headers)))
        page.goto(dashboard.valerix.json("dashboard")["sign_in_url"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#age")).to_have_text("Live")
        place(page, "browser-token")
        expect(page.locator("#placed")).to_contain_text("confirmed")
        seen = page.content() + str(context.cookies()) + "".join(bodies)
    assert token not in seen


@pytest.mark.long
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["order"], "The order service does not respond"),
        (["inventory"], "Inventory does not respond"),
        (["order", "inventory"], "The order service does not respond; inventory does not respond"),
    ],
)
def test_the_page_reports_unreachable_services_and_stays_usable(
    dashboard: Dashboard, names: list[str], says: str
) -> None:
    stopped = [dashboard.valerix.stack()["services"][name][0]["pid"] for name in names]
    with dashboard.operate() as page, dashboard.quietly():
        expect(page.locator("#age")).to_have_text("Live")
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            headline = panel(page, "headline")
            expect(headline).to_contain_text(says)
            expect(panel(page, "health").locator(".tile", has_text="no answer")).to_have_count(len(names))
            expect(panel(page, "stock" if "inventory" in names else "queue")).to_contain_text("This is")
            if "inventory" in names:
                page.get_by_role("button", name="Restock").click()
                expect(page.locator("#notices")).to_contain_text("Outcome unknown", timeout=20_000)
            page.reload()
            expect(panel(page, "stock")).to_contain_text("Webcam")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        expect(headline).to_contain_text("All is well.", timeout=30_000)


@pytest.mark.long
def test_fifty_tabs_cause_no_more_service_requests_than_one(dashboard: Dashboard) -> None:
    few, many = requests_per_tick(dashboard, tabs=1), requests_per_tick(dashboard, tabs=50)
    assert few > 0
    assert many <= few * 1.3


def requests_per_tick(dashboard: Dashboard, tabs: int) -> float:
    """Return the number of requests that the order service gets per tick of the feed while several tabs follow it."""
    order = dashboard.valerix.stack()["services"]["order"][0]["url"]
    with contextlib.ExitStack() as open_tabs, httpx.Client(base_url=dashboard.url, timeout=SLOW) as client:
        followed = [open_tabs.enter_context(client.stream("GET", "/feed")) for _ in range(tabs)]
        ticks = (line for line in followed[0].iter_lines() if line.startswith("id:"))
        next(ticks)
        before = requests_at(order)
        for _ in range(5):
            next(ticks)
        return (requests_at(order) - before) / 5


def requests_at(service: str) -> float:
    lines = httpx.get(f"{service}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("http_request_duration_seconds_count")]
    return sum(float(line.rpartition(" ")[2]) for line in counts)


@pytest.mark.long
def test_a_tab_left_open_for_an_hour_keeps_its_memory(dashboard: Dashboard) -> None:
    with dashboard.visit() as page:
        page.evaluate("document.addEventListener('valerix:update', (event) => { window.last = event.detail.id })")
        cdp = page.context.new_cdp_session(page)
        hour = "".join(an_hour(dashboard))
        expect(page.locator("#age")).to_have_text("Live")
        before = memory(page, cdp)
        with dashboard.quietly():  # the generated feed has no policy, and it ends
            page.route("**/feed?*", lambda route: route.fulfill(content_type="text/event-stream", body=hour), times=1)
            page.reload()
            page.evaluate("document.addEventListener('valerix:update', (event) => { window.last = event.detail.id })")
            eventually(lambda: page.evaluate("(window.last ?? '').startsWith('hour-')"), 30)
            eventually(lambda: not page.evaluate("window.last.startsWith('hour-')"), 120)
        heap, nodes = memory(page, cdp)
    dashboard.complaints()
    assert nodes <= before[1] * 1.1
    assert heap <= before[0] * 1.5 + 2_000_000


def an_hour(dashboard: Dashboard) -> Iterator[str]:
    """Yield an hour of messages, generated from messages that were really sent."""
    with httpx.stream("GET", f"{dashboard.url}/feed", timeout=SLOW) as feed:
        events = (line for line in feed.iter_lines() if line.startswith("data:"))
        real = [next(events) for _ in range(6)][1:]
    for tick in range(3600):
        yield f"event: delta\nid: hour-{tick}\n{real[tick % len(real)]}\n\n"


def memory(page: Page, cdp: CDPSession) -> tuple[int, int]:
    """Return the heap size in bytes after garbage collection, and the number of elements."""
    cdp.send("HeapProfiler.collectGarbage")
    return (
        page.evaluate("performance.memory.usedJSHeapSize"),
        page.evaluate("document.querySelectorAll('*').length"),
    )


def test_scripts_are_small(dashboard: Dashboard) -> None:
    scripts = re.findall(r'<script src="([^"]+)"', httpx.get(dashboard.url).text)
    assert len(scripts) == 3
    assert sum(len(gzip.compress(httpx.get(dashboard.url + script).content)) for script in scripts) < 100_000


@pytest.mark.long
def test_the_first_paint_takes_less_than_half_a_second(dashboard: Dashboard) -> None:
    with dashboard.visit() as page:
        paints = "performance.getEntriesByType('paint').map((one) => one.startTime)"
        assert min(eventually(lambda: page.evaluate(paints))) < 500
