"""Which pod a forwarded port leads to, while pods come and go."""

from typing import Any, cast

import pytest

from valerix_cli.cluster import forward
from valerix_cli.cluster.api import Api
from valerix_cli.errors import UnreachableError


class Namespace:
    """The pods that an API server would list."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.leaving: set[str] = set()

    def find_all(self, *_: Any) -> list[Any]:
        return [self._pod(name) for name in self.names]

    def _pod(self, name: str) -> Any:
        going = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if name in self.leaving else {}
        return {"metadata": {"name": name, **going}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


@pytest.fixture
def namespace() -> Namespace:
    return Namespace("order-a", "order-b")


@pytest.fixture
def pods(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> forward.Slots:
    monkeypatch.setattr(forward, "_FRESH", 0.0)
    return forward.Slots(cast("Api", namespace), "valerix", "order")


def test_each_port_has_a_pod_of_its_own_and_keeps_it(namespace: Namespace, pods: forward.Slots) -> None:
    assert [pods.of(0), pods.of(1)] == ["order-a", "order-b"]
    namespace.names.insert(0, "order-0")
    assert [pods.of(0), pods.of(1)] == ["order-a", "order-b"]


def test_a_pod_that_is_leaving_is_replaced_by_one_that_no_other_port_has(
    namespace: Namespace, pods: forward.Slots
) -> None:
    pods.of(0), pods.of(1)
    namespace.names.append("order-c")
    namespace.leaving.add("order-a")
    assert [pods.of(0), pods.of(1)] == ["order-c", "order-b"]


def test_the_last_pod_serves_every_port(namespace: Namespace, pods: forward.Slots) -> None:
    pods.of(0), pods.of(1)
    namespace.names.remove("order-a")
    assert [pods.of(0), pods.of(1)] == ["order-b", "order-b"]


def test_without_any_there_is_none(namespace: Namespace, pods: forward.Slots) -> None:
    namespace.names.clear()
    with pytest.raises(UnreachableError, match="No pod of order is ready"):
        pods.of(0)
