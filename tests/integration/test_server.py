"""How each service begins and ends, whatever it serves."""

import json
import signal
import socket
from typing import Any

import httpx

from tests.processes import Processes, Service, eventually


def last_line(service: Service) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(service.log.read_text().splitlines()[-1])
    return line


def test_a_port_that_somebody_has_is_never_shared(services: Processes) -> None:
    first, second = services.inventory(), services.inventory()
    services.start(first)
    second.start(PORT=str(first.port))
    assert second.wait_killed() == 3
    assert last_line(second)["event"] == "cannot listen"
    assert {httpx.get(f"{first.url}/health").json()["replica"] for _ in range(5)} == {"inventory-1"}


def test_a_setting_that_is_missing_or_a_placeholder_ends_the_start_with_its_name(services: Processes) -> None:
    for name, value in (("OPERATOR_TOKENS", ""), ("SERVICE_TOKENS", "changeme-changeme"), ("CRASH_AT", "somewhere")):
        service = services.inventory()
        service.start(**{name: value})
        assert service.wait_killed() == 2
        assert f"VALERIX_{name}" in last_line(service)["why"]


def test_either_signal_ends_a_service_cleanly_though_a_client_keeps_its_connection(services: Processes) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        service = services.inventory()
        services.start(service)
        with socket.create_connection(("127.0.0.1", service.port)) as idle:
            idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            service.signal(number)
            assert service.wait_killed() == 0
        assert eventually(lambda: last_line(service)["event"] == "stopped")  # noqa: B023 - called before the next turn
