"""Start and shutdown of each service."""

import contextlib
import json
import re
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from tests.processes import SERVICE_TOKEN, Processes, Service, eventually


def rss(service: Service) -> int:
    """Return the resident memory in bytes."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
    assert resident is not None
    return int(resident[1]) * 1024


def writes(service: Service) -> int:
    """Return the number of system calls that have written to a socket or file."""
    written = re.search(r"syscw: (\d+)", Path(f"/proc/{service.process.pid}/io").read_text())
    assert written is not None
    return int(written[1])


def is_refused(port: int) -> bool:
    """Return True if connections are refused."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def last_line(service: Service) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(service.log.read_text().splitlines()[-1])
    return line


def test_a_port_in_use_is_never_shared(services: Processes) -> None:
    first, second = services.inventory(), services.inventory()
    services.start(first)
    second.start(PORT=str(first.port))
    assert second.wait_killed() == 3
    assert last_line(second)["event"] == "cannot listen"
    assert {httpx.get(f"{first.url}/health").json()["replica"] for _ in range(5)} == {"inventory-1"}


def test_a_start_with_a_missing_or_placeholder_setting_fails_and_names_it(services: Processes) -> None:
    for name, value in (("OPERATOR_TOKENS", ""), ("SERVICE_TOKENS", "changeme-changeme"), ("CRASH_AT", "somewhere")):
        service = services.inventory()
        service.start(**{name: value})
        assert service.wait_killed() == 2
        assert f"VALERIX_{name}" in last_line(service)["why"]


def test_sigterm_and_sigint_stop_a_service_cleanly_despite_an_open_connection(services: Processes) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        service = services.inventory()
        services.start(service)
        with socket.create_connection(("127.0.0.1", service.port)) as idle:
            idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            service.signal(number)
            assert service.wait_killed() == 0
        assert eventually(lambda: last_line(service)["event"] == "stopped")  # noqa: B023 - called before the next iteration


def test_a_request_sent_during_shutdown_is_answered_with_connection_close(
    services: Processes,
) -> None:
    service = services.inventory()
    services.start(service)
    busy = HTTPConnection("127.0.0.1", service.port, timeout=5)
    with contextlib.closing(busy):
        busy.request("GET", "/health/live")
        first = busy.getresponse()
        assert (first.status, first.getheader("connection"), first.read() != b"") == (200, None, True)
        service.signal(signal.SIGTERM)
        assert eventually(lambda: is_refused(service.port))
        busy.request("GET", "/health/live")
        last = busy.getresponse()
        assert (last.status, last.getheader("connection")) == (200, "close")
    assert service.wait_killed() == 0


def test_an_endless_request_head_is_cut_off(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    for endless in (b"x: " + b"y" * 1000, b"x: y\r\n" * 150):
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as caller:
            caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
            with contextlib.suppress(ConnectionError):  # it need not receive all of it
                for _ in range(2000):
                    caller.sendall(endless)
            with contextlib.suppress(ConnectionError):
                assert caller.recv(4096)[:12] in {b"HTTP/1.1 431", b""}
        assert httpx.get(f"{service.url}/health/live").status_code == 200
        assert rss(service) < 150_000_000


def test_large_heads_and_many_requests_on_one_connection_are_accepted(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    with httpx.Client(base_url=service.url, headers={"X-Large": "y" * 30_000}) as client:
        assert {client.get("/health/live").status_code for _ in range(10)} == {200}


def test_bytes_that_are_not_http_are_refused_and_not_logged(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as stranger:
        stranger.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert stranger.recv(4096).startswith(b"HTTP/1.1 400")
    assert {json.loads(line)["level"] for line in service.log.read_text().splitlines()} == {"info"}


def test_an_expect_100_continue_request_gets_its_100(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as careful:
        careful.sendall(
            b"POST /api/inventory/deduct HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer " + SERVICE_TOKEN.encode() + b"\r\n\r\n"
        )
        assert careful.recv(4096).startswith(b"HTTP/1.1 100 ")
        careful.sendall(b"{}")
        assert careful.recv(4096).startswith(b"HTTP/1.1 422 ")


def test_response_head_and_body_are_one_write(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    with httpx.Client(base_url=service.url) as caller:
        before = writes(service)
        answers = [caller.get("/health/live") for _ in range(100)]
        assert 100 <= writes(service) - before < 150
    assert all(answer.status_code == 200 and answer.json()["status"] for answer in answers)


def test_a_response_without_a_body_is_sent(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    for method in ("HEAD", "OPTIONS"):
        response = httpx.request(method, f"{service.url}/health/live", timeout=5)
        assert (response.status_code in {200, 204, 405}, response.headers["x-content-type-options"]) == (
            True,
            "nosniff",
        )
