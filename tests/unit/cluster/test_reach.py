"""What is found in a cluster, so that a context needs no more than its name."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from valerix_cli.cluster import reach
from valerix_cli.cluster.objects import Ref
from valerix_cli.errors import UnreachableError

PASSWORD = "with/and@in-it"


class Api:
    """A cluster with the secrets of a platform, or with none."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def get(self, ref: Ref) -> Any:
        data = {"password": base64.b64encode(PASSWORD.encode()).decode()}
        return {"data": data} if ref.name in self._names else None


def forwards(*pods: str) -> Any:
    def open_ports(service: str, port: int) -> list[int]:
        if service not in pods:
            raise UnreachableError(f"No pod of {service} is ready.", "none", "valerix cluster status")
        return [port + 10_000]

    return SimpleNamespace(open=open_ports)


def test_cached_answers_are_read_from_the_redis_of_the_cluster() -> None:
    found = reach.cache_of(Api("redis"), "valerix", forwards("redis"))  # type: ignore[arg-type]  # it only asks for a secret
    assert found == "redis://:with%2Fand%40in-it@127.0.0.1:16379/0"


@pytest.mark.parametrize(("secrets", "pods"), [((), ("redis",)), (("redis",), ())])
def test_a_redis_that_is_no_pod_or_whose_password_is_not_there_is_not_known(
    secrets: tuple[str, ...], pods: tuple[str, ...]
) -> None:
    assert reach.cache_of(Api(*secrets), "valerix", forwards(*pods)) is None  # type: ignore[arg-type]  # the same
