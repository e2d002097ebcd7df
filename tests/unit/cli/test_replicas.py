"""Requests over several replicas, some of which are down."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from valerix_cli.clients.http import Replicas
from valerix_cli.contexts.model import Context
from valerix_cli.errors import BadUsageError, CliError, GuardError, TimeoutExpiredError, UnreachableError


class Server(ThreadingHTTPServer):
    """Counts its requests; closes connections or stays silent if configured so."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, hangs_up: bool, silent: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hangs_up, self.silent = hangs_up, silent
        self.asked = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked += 1
        if server.silent:
            server.closing.wait(10)
        if server.hangs_up or server.silent:
            return
        body = b'{"ok":true}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name for it
        """Suppress the log."""


@contextmanager
def server(*, hangs_up: bool = False, silent: bool = False) -> Iterator[Server]:
    running = Server(hangs_up=hangs_up, silent=silent)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        running.closing.set()
        running.shutdown()
        thread.join()
        running.server_close()


def gone() -> str:
    """Return a URL with no server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def replicas(*urls: str, limit: float = 5.0, operator: bool = True) -> Replicas:
    token = "a-token" if operator else None
    return Replicas(Context("local", {"order": urls}, token, "a test", "a test"), "order", limit=limit)


def test_requests_are_spread_over_the_replicas() -> None:
    with server() as one, server() as two:
        client = replicas(one.url, two.url)
        for _ in range(4):
            client.send("GET", "/")
        assert (one.asked, two.asked) == (2, 2)


def test_an_unreachable_replica_is_skipped_even_by_unrepeatable_requests() -> None:
    with server() as there:
        client = replicas(gone(), there.url, gone())
        for _ in range(3):
            assert client.send("POST", "/", repeatable=False).status_code == 200
        assert there.asked == 3


def test_a_repeatable_request_is_sent_to_the_next_replica_after_a_disconnect() -> None:
    with server(hangs_up=True) as broken, server() as there:
        client = replicas(broken.url, there.url)
        for _ in range(2):
            assert client.send("POST", "/", repeatable=True).status_code == 200
        assert (broken.asked, there.asked) == (1, 2)


def test_an_unrepeatable_request_is_sent_once() -> None:
    with server(hangs_up=True) as one, server(hangs_up=True) as two:
        with pytest.raises(CliError, match="not known"):
            replicas(one.url, two.url).send("POST", "/", repeatable=False)
        assert one.asked + two.asked == 1


def test_an_unreachable_service_reports_every_replica() -> None:
    urls = (gone(), gone())
    with pytest.raises(UnreachableError) as refused:
        replicas(*urls).send("GET", "/")
    assert all(url in refused.value.why for url in urls)


def test_a_late_response_times_out() -> None:
    with server(silent=True) as slow, pytest.raises(TimeoutExpiredError):
        replicas(slow.url, limit=0.2).send("GET", "/")


def test_an_operator_command_without_a_token_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(GuardError):
        replicas(gone(), operator=False).operator_only("restock")


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX-Other: b", "é", "\udcff", " a", "a\x00", "\x7f"])
def test_a_key_that_is_no_header_value_is_refused_and_nothing_is_sent(key: str) -> None:
    with server() as listening, pytest.raises(BadUsageError) as caught:
        replicas(listening.url).send("POST", "/api/orders", headers={"Idempotency-Key": key}, json={})
    assert "Idempotency-Key" in caught.value.why
    assert repr(key) not in str(caught.value)
    assert "printable" in caught.value.hint
    assert listening.asked == 0


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("G T", "/", {}),
        ("GET\n", "/", {}),
        ("GET", "/a\nb", {}),
        ("GET", "/\x7f", {}),
        ("GET", "/", {"headers": {"a b": "c"}}),
        ("GET", "/", {"headers": {"": "c"}}),
        ("POST", "/", {"json": {"item_id": "\udcff"}}),
        ("GET", "/", {"params": {"item_id": "\udcff"}}),
    ],
)
def test_an_invalid_request_is_refused_and_nothing_is_sent(method: str, path: str, request_: dict[str, Any]) -> None:
    with server() as listening, pytest.raises(BadUsageError, match="Invalid request"):
        replicas(listening.url).send(method, path, **request_)
    assert listening.asked == 0
