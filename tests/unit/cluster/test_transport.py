"""Requests to an API server that is busy or temporarily unavailable: which are repeated, and for how long."""

import json
import math
import threading
import time
from typing import Any

import pytest

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.transport import ApiError, Transport
from valerix_cli.errors import UnreachableError

AWAY = UnreachableError("The cluster is unreachable.", "connection refused", "kubectl cluster-info")
Answer = int | UnreachableError


class Server(Transport):
    """Responds with the given responses, and repeats the last one."""

    message = "etcdserver: leader changed"

    def __init__(self, *answers: Answer, patience: float = 5.0) -> None:
        super().__init__(client=None, patience=patience, log=self._keep)
        self._cancelled = Event()
        self.asked = 0
        self.messages: list[str] = []
        self._answers = list(answers)

    server = "https://127.0.0.1:6443"

    def authorization(self) -> dict[str, str]:
        return {}

    def _keep(self, text: str) -> None:
        self.messages.append(text)

    def _ask(self, *_: Any) -> tuple[int, bytes]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, UnreachableError):
            raise answer
        return answer, json.dumps({"message": self.message}).encode() if answer == 500 else b"{}"


class Event(threading.Event):
    """An event with simulated time: only waiting advances it, and lets other threads run."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        Event.now += timeout or 0.0
        return super().wait(0.001)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Event.now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: Event.now)


@pytest.mark.parametrize("trouble", [AWAY, 500, 502, 503, 504, 429])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_repeatable_request_is_repeated_until_the_server_is_back(method: str, trouble: Answer) -> None:
    server = Server(200, trouble, trouble, trouble, trouble, 200)
    server.send("GET", "/version")
    assert server.send(method, "/api") == b"{}"
    assert server.asked == 6
    assert server.messages


def test_a_request_is_repeated_while_a_started_server_cannot_allocate_addresses() -> None:
    server = Server(200, 500, 500, 200)
    server.message = 'Internal error occurred: failed to allocate a serviceIP for Service "postgres": range is full'
    server.send("GET", "/version")
    server.send("PATCH", "/api/v1/namespaces/valerix/services/postgres")
    assert server.asked == 4


@pytest.mark.parametrize("trouble", [AWAY, 500, 503])
def test_a_creation_is_not_repeated(trouble: Answer) -> None:
    server = Server(200, trouble, 200)
    server.send("GET", "/version")
    with pytest.raises((UnreachableError, ApiError)):
        server.send("POST", "/api")
    assert server.asked == 2


def test_a_creation_rejected_by_a_busy_server_is_repeated() -> None:
    server = Server(429, 201)
    assert server.send("POST", "/api") == b"{}"


def test_a_server_that_never_answered_fails_at_once() -> None:
    server = Server(AWAY)
    with pytest.raises(UnreachableError):
        server.send("GET", "/version")
    assert server.asked == 1


def test_a_server_that_stays_unreachable_fails() -> None:
    server = Server(200, AWAY, patience=30.0)
    server.send("GET", "/version")
    with pytest.raises(UnreachableError):
        server.send("GET", "/api")
    assert time.monotonic() <= 30.0


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_an_error_response_is_not_repeated(status: int) -> None:
    server = Server(status)
    with pytest.raises(ApiError):
        server.send("GET", "/api")
    assert server.asked == 1


def test_a_cancelled_request_is_not_repeated() -> None:
    server = Server(200, AWAY)
    server.send("GET", "/version")
    server.cancel()
    with pytest.raises(UnreachableError):
        server.send("GET", "/api")
    assert server.asked == 2


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interruption_ends_concurrent_repetitions(end: type[BaseException]) -> None:
    server = Server(200, AWAY, patience=math.inf)
    server.send("GET", "/version")

    def ask(number: int) -> None:
        if number:
            server.send("GET", "/api")
        raise end

    with pytest.raises(end):
        Api(server).each(ask, range(20))
