"""Readiness of a service, and its identity as part of this platform."""

import os
from collections.abc import Iterator

import pytest

from tests.processes import Processes, Service
from valerix_cli.local.ports import OURS, free_port
from valerix_cli.local.probe import is_ready


@pytest.fixture
def inventory(services: Processes) -> Iterator[Service]:
    service = services.inventory()
    services.start(service)
    yield service
    assert service.stop() == 0


def test_a_service_is_ready_only_if_the_started_process_answers(inventory: Service) -> None:
    assert inventory.process.pid is not None
    assert is_ready(inventory.url, inventory.process.pid)
    assert not is_ready(inventory.url, os.getpid()), "somebody else's answers on that port say nothing about ours"


def test_a_port_without_a_listener_is_not_ready() -> None:
    assert not is_ready(f"http://127.0.0.1:{free_port()}", os.getpid())


def test_chosen_ports_are_below_the_ephemeral_range() -> None:
    assert all(free_port() in OURS for _ in range(20))
    assert free_port(preferred=OURS[0], but=frozenset({OURS[0]})) != OURS[0]
