"""Connection settings read from a cluster, so that a context needs only its name."""

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from tests.unit.manifests.rendered import base, with_component
from valerix_cli.cluster.objects import Object, Ref, ref
from valerix_cli.contexts import from_cluster
from valerix_cli.errors import UnreachableError

PASSWORD = "with/and@in-it"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB+w/4=\n-----END CERTIFICATE-----\n"


class Api:
    """A cluster with applied objects, and secrets of these names."""

    def __init__(
        self, things: list[Object], *secrets: str, password: str = PASSWORD, authority: str = AUTHORITY
    ) -> None:
        self._things = {ref(thing): thing for thing in things}
        self._secrets = secrets
        self._content = {"password": password, "ca.crt": authority}

    def get(self, wanted: Ref) -> Any:
        if wanted.kind != "Secret":
            return self._things.get(wanted)
        data = {key: base64.b64encode(value.encode()).decode() for key, value in self._content.items()}
        return {"data": data} if wanted.name in self._secrets else None


def without_settings() -> list[Object]:
    """Return the objects as applied before the settings object existed."""
    return [thing for thing in base() if not thing["metadata"]["name"].startswith("settings-")]


def forwards(*pods: str, port: int | None = None) -> Any:
    """Return port forwards of these pods: to the pod's port + 10,000, or to `port`."""

    def open_ports(service: str, of_pod: int, *, sessions: bool = False) -> list[int]:
        assert sessions == (service in {"postgres", "redis"})
        if service not in pods:
            raise UnreachableError(f"No pod of {service} is ready.", "none", "valerix cluster status")
        return [port or of_pod + 10_000]

    return SimpleNamespace(open=open_ports)


def test_cached_answers_are_read_from_the_redis_of_the_cluster() -> None:
    found = from_cluster.cache_of(Api(base(), "redis"), "valerix", forwards("redis"))  # type: ignore[arg-type]  # it only reads objects
    assert found == "redis://:with%2Fand%40in-it@127.0.0.1:16379/0"


def test_a_redis_with_tls_is_verified_by_authority_and_not_by_host_name() -> None:
    api = Api(with_component("data-stores-tls"), "redis", "data-stores-ca")
    found = from_cluster.cache_of(api, "valerix", forwards("redis"))  # type: ignore[arg-type]  # it only reads objects
    assert found is not None
    assert found.startswith("rediss://:with%2Fand%40in-it@127.0.0.1:16379/0?")
    with redis.Redis.from_url(found) as client:
        options = client.connection_pool.connection_kwargs
    assert (options["ssl_ca_data"], options["ssl_check_hostname"]) == (AUTHORITY, False)
    assert "ssl_cert_reqs" not in options, "redis-py asks for a certificate unless told otherwise"


def test_a_redis_without_its_authority_is_not_used() -> None:
    api = Api(with_component("data-stores-tls"), "redis")
    assert from_cluster.cache_of(api, "valerix", forwards("redis")) is None  # type: ignore[arg-type]  # the same


@pytest.mark.parametrize(("secrets", "pods"), [((), ("redis",)), (("redis",), ())])
def test_a_redis_without_a_pod_or_a_password_is_not_used(secrets: tuple[str, ...], pods: tuple[str, ...]) -> None:
    assert from_cluster.cache_of(Api(base(), *secrets), "valerix", forwards(*pods)) is None  # type: ignore[arg-type]  # the same


@pytest.mark.parametrize("things", [list, without_settings], ids=["nothing", "settings of before"])
def test_a_redis_of_a_platform_without_tls_is_connected_to_without_tls(things: Callable[[], list[Object]]) -> None:
    found = from_cluster.cache_of(Api(things(), "redis"), "valerix", forwards("redis"))  # type: ignore[arg-type]  # the same
    assert found == "redis://:with%2Fand%40in-it@127.0.0.1:16379/0"
