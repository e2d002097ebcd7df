"""`python -m tests.browser.pictures`: screenshots of the dashboard for docs/images: calm, chaos and recovery.

Each is taken in light and dark. Nothing is staged: a platform is started, loaded, broken on purpose and left to
recover.
"""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.cli.conftest import Valerix
from tests.processes import open_directory

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PATIENCE = 60_000  # milliseconds


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("There is no chromium on the path: apt-get install chromium")
    with open_directory("pictures") as directory, sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=root)
        valerix = Valerix(directory)
        valerix("up", "--detach", "--free-ports")
        try:
            take(valerix, browser)
        finally:
            valerix("down")


def take(valerix: Valerix, browser: Browser) -> None:
    valerix("stock", "restock", "monitor", "5000")
    load = valerix.start("load", "--item", "monitor", "--rate", "25/s", "--for", "90s")
    try:
        pages = {scheme: _signed_in(valerix, browser, scheme) for scheme in ("light", "dark")}
        any_page = pages["light"]
        any_page.wait_for_timeout(30_000)  # so that the charts have data
        _shoot(pages, "calm")
        valerix("chaos", "on", "latency", "--ttl", "20s", "--reason", "for the pictures")
        expect(any_page.locator("#panel-breaker")).to_contain_text("next trial", timeout=PATIENCE)
        any_page.wait_for_timeout(4_000)
        _shoot(pages, "chaos")
        expect(any_page.locator("#panel-headline")).to_contain_text("All is well.", timeout=PATIENCE)
        any_page.wait_for_timeout(3_000)
        _shoot(pages, "recovery")
    finally:
        load.terminate()
        load.communicate()


def _signed_in(valerix: Valerix, browser: Browser, scheme: Any) -> Page:
    page = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 1140}).new_page()
    page.goto(valerix.json("dashboard")["sign_in_url"])
    page.get_by_role("button", name="Sign in").click()
    return page


def _shoot(pages: dict[str, Page], what: str) -> None:
    for scheme, page in pages.items():
        page.screenshot(path=IMAGES / f"dashboard-{what}-{scheme}.jpg", type="jpeg", quality=50)


if __name__ == "__main__":
    main()
