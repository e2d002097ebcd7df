"""The pod that a forwarded port leads to, while pods start and stop."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from tests.processes import eventually
from valerix_cli.cluster import forward
from valerix_cli.cluster.api import Api
from valerix_cli.errors import UnreachableError


class Namespace:
    """The pods that an API server lists."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.leaving: set[str] = set()
        self.listed = 0

    def find_all(self, *_: Any) -> list[Any]:
        self.listed += 1
        return [self._pod(name) for name in self.names]

    def _pod(self, name: str) -> Any:
        going = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if name in self.leaving else {}
        return {"metadata": {"name": name, **going}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


@pytest.fixture
def namespace() -> Namespace:
    return Namespace("order-a", "order-b")


@pytest.fixture
def pods(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> forward.PodSlots:
    monkeypatch.setattr(forward, "_FRESH", 0.0)
    return forward.PodSlots(cast("Api", namespace), "valerix", "order")


def test_every_port_has_its_own_pod_and_keeps_it(namespace: Namespace, pods: forward.PodSlots) -> None:
    assert [pods.of(0), pods.of(1)] == ["order-a", "order-b"]
    namespace.names.insert(0, "order-0")
    assert [pods.of(0), pods.of(1)] == ["order-a", "order-b"]


def test_a_terminating_pod_is_replaced_by_one_without_a_port(namespace: Namespace, pods: forward.PodSlots) -> None:
    pods.of(0), pods.of(1)
    namespace.names.append("order-c")
    namespace.leaving.add("order-a")
    assert [pods.of(0), pods.of(1)] == ["order-c", "order-b"]


def test_the_last_pod_serves_every_port(namespace: Namespace, pods: forward.PodSlots) -> None:
    pods.of(0), pods.of(1)
    namespace.names.remove("order-a")
    assert [pods.of(0), pods.of(1)] == ["order-b", "order-b"]


def test_a_port_without_a_ready_pod_is_an_error(namespace: Namespace, pods: forward.PodSlots) -> None:
    namespace.names.clear()
    with pytest.raises(UnreachableError, match="No pod of order is ready"):
        pods.of(0)


class Pod:
    """Responds to each request with its name, and closes when its client does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self._server.getsockname())

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            while client.recv(100):
                client.sendall(self.name.encode())


@pytest.fixture
def forwards(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[forward.Forwards]:
    """Port forwards in a namespace with one pod, to which another can be added."""
    namespace.names = ["order-a"]
    with ExitStack() as stack:
        found = {name: Pod(name) for name in ("order-a", "order-b")}
        for pod in found.values():
            stack.callback(pod.close)
        monkeypatch.setattr(forward, "_connect", lambda _, __, name, ___: found[name].connect())
        monkeypatch.setattr(forward, "_FRESH", 0.01)
        forwards = forward.Forwards(cast("Api", namespace), "kind", "valerix")
        stack.callback(forwards.close)
        yield forwards


def serving_pod(client: socket.socket) -> str:
    """Return the response to a request; "" if the connection was closed."""
    client.settimeout(10)
    try:
        client.sendall(b"?")
        return client.recv(100).decode()
    except ConnectionError:
        return ""


def test_an_http_connection_moves_to_another_pod_when_its_own_terminates(
    namespace: Namespace, forwards: forward.Forwards
) -> None:
    [port] = forwards.open("order", 3001)
    answers = []

    def ask() -> bool:
        answers.append(serving_pod(client))
        return answers[-1] == "order-b"

    with socket.create_connection(("127.0.0.1", port)) as client:
        assert serving_pod(client) == "order-a"
        namespace.names.append("order-b")
        namespace.leaving.add("order-a")
        eventually(ask, within=10, what="another pod answers")
    assert set(answers) <= {"order-a", "order-b"}, "no request was lost"


def test_an_http_connection_stays_with_a_terminating_pod_if_no_other_exists(
    namespace: Namespace, forwards: forward.Forwards
) -> None:
    [port] = forwards.open("order", 3001)
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert serving_pod(client) == "order-a"
        namespace.leaving.add("order-a")
        seen = namespace.listed
        eventually(lambda: namespace.listed > seen + 1, within=10, what="that it terminates was seen")
        assert serving_pod(client) == "order-a"


def test_a_connection_with_a_session_is_closed_when_its_pod_terminates(
    namespace: Namespace, forwards: forward.Forwards
) -> None:
    [port] = forwards.open("postgres", 5432, sessions=True)
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert serving_pod(client) == "order-a"
        namespace.names.append("order-b")
        namespace.leaving.add("order-a")
        client.settimeout(10)
        assert client.recv(100) == b""
