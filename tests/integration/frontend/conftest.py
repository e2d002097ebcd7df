"""Dashboards as real processes, and clients that send arbitrary bytes."""

import contextlib
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import OPERATOR_TOKEN, Service

PASSWORD = "d-5b8e02f7a1c94d36"
NOBODY = "http://127.0.0.1:9"  # the discard port: connections are refused
TOKEN = re.compile(r'name="_csrf_token" value="([^"]*)"')


class Dashboard:
    """One replica of the dashboard."""

    def __init__(self, service: Service, open_browsers: contextlib.ExitStack) -> None:
        self.service = service
        self._open_browsers = open_browsers

    @property
    def url(self) -> str:
        return self.service.url

    def browser(self, **headers: str) -> httpx.Client:
        """Return a new browser: it keeps cookies and does not follow redirects."""
        browser = httpx.Client(base_url=self.url, headers={"Accept": "text/html"} | headers, timeout=10)
        return self._open_browsers.enter_context(browser)

    def operator(self, **headers: str) -> httpx.Client:
        """Return a browser that has signed in with the password."""
        browser = self.browser(**headers)
        answer = sign_in(browser, PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser

    def exchange(self, request: bytes) -> bytes:
        """Send bytes on a new connection, and return the head of the response; empty if there is none."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=10) as connection:
            connection.sendall(request)
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(65_536)):
                head += more
        return head.partition(b"\r\n\r\n")[0]


def form_token(page: str) -> str:
    found = TOKEN.search(page)
    assert found is not None, "no form on this page"
    return found[1]


def sign_in(browser: httpx.Client, password: str, **headers: str) -> httpx.Response:
    token = form_token(browser.get("/sign-in", headers=headers).text)
    return browser.post("/sign-in", data={"password": password, "_csrf_token": token}, headers=headers)


def is_operator(browser: httpx.Client) -> bool:
    return "Sign out" in browser.get("/").text


class Dashboards:
    """Starts dashboards; all end with the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Service] = []
        self._open_browsers = contextlib.ExitStack()

    def start(self, **settings: str) -> Dashboard:
        """Start another replica, with settings named without their prefix."""
        name = f"frontend-{len(self._started) + 1}"
        variables = {
            "ORDER_URL": NOBODY,
            "INVENTORY_URL": NOBODY,
            "OPERATOR_TOKEN": OPERATOR_TOKEN,
            "DASHBOARD_PASSWORD": PASSWORD,
            "ALLOWED_HOSTS": "*",
        } | settings
        environ = {f"VALERIX_{name}": value for name, value in variables.items()}
        service = Service("services.frontend.asgi", name, self._directory / f"{name}.log", environ)
        self._started.append(service)
        service.start()
        service.wait_ready()
        return Dashboard(service, self._open_browsers)

    def end(self) -> None:
        self._open_browsers.close()
        for service in self._started:
            if service.is_alive:
                service.signal(signal.SIGCONT)
                service.kill()


@pytest.fixture
def dashboards(tmp_path: Path) -> Iterator[Dashboards]:
    made = Dashboards(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard for the tests of a module that leave no trace in it."""
    made = Dashboards(tmp_path_factory.mktemp("dashboard"))
    try:
        yield made.start()
    finally:
        made.end()


@pytest.fixture
def no_traceback(dashboard: Dashboard) -> Iterator[None]:
    """Fails if a request of the test makes the dashboard log a traceback."""
    before = dashboard.service.log.stat().st_size
    yield
    with dashboard.service.log.open() as log:
        log.seek(before)
        assert [line for line in log if "Traceback" in line] == []
