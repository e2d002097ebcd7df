"""The Redis of `components/data-stores-tls`, on a real server that is started as in its pod."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from services.common.redis import Redis, closing, open_redis
from tests.certificates import Authority
from tests.e2e.shop import Shop
from tests.processes import eventually, open_directory, processes
from tests.unit.cluster.test_from_cluster import Api, forwards
from tests.unit.manifests.rendered import one, with_component
from tests.unit.manifests.test_data_stores_tls import AUTHORITY, expanded, names_of, url_of_order
from valerix_cli.audit import cache
from valerix_cli.contexts import from_cluster
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.redis import check_tasks
from valerix_cli.errors import UnreachableError
from valerix_cli.local.external import REDIS_URL, reach_redis
from valerix_cli.local.ports import LOOPBACK, free_port

PASSWORD = "secret"  # as in the rendered connection strings

pytestmark = pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-cli")),
    reason="needs a Redis with TLS, which the Valkey of the wheel has not (Debian: redis-server)",
)


def things() -> list[Any]:
    return with_component("data-stores-tls")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@dataclass(frozen=True)
class Encrypted:
    """Redis at 127.0.0.1, started as in its pod; its certificate names the hosts of the manifests, and localhost."""

    port: int
    directory: Path

    def url(self, *, host: str = "localhost", authority: Path | None = None) -> str:
        """Return the order service's URL, with this server's address and file paths."""
        found = url_of_order("redis").replace(AUTHORITY, str(authority or self.directory / "ca.crt"))
        return found.replace("@redis:6379/", f"@{host}:{self.port}/")


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[Encrypted]:
    with open_directory("tls") as directory, redis_in(directory, authority) as started:
        yield started


@contextmanager
def redis_in(directory: Path, authority: Authority) -> Iterator[Encrypted]:
    server = Encrypted(free_port(), directory)
    certify(server, authority)
    [container] = one(things(), "Deployment", "redis")["spec"]["template"]["spec"]["containers"]
    variables = expanded(things(), container)
    variables["VALKEY_EXTRA_FLAGS"] = (
        variables["VALKEY_EXTRA_FLAGS"].replace("6379", str(server.port)).replace("/etc/redis-tls", str(directory))
    )
    [script] = container["args"]
    script = script.replace("valkey-server", "redis-server").replace("/data", str(directory))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*container["command"], script], env={"PATH": os.environ["PATH"]} | variables, stdout=log
        )
    try:
        eventually(lambda: is_ready(server), what=f"Redis answers its probe; {(directory / 'log').read_text()[-500:]}")
        yield server
    finally:
        process.terminate()
        process.wait(10)


def certify(server: Encrypted, authority: Authority) -> None:
    certificate, key = authority.sign("localhost", *names_of(things(), "redis"))
    (server.directory / "ca.crt").write_bytes(authority.certificate)
    (server.directory / "tls.crt").write_bytes(certificate)
    (server.directory / "tls.key").write_bytes(key)


def is_ready(server: Encrypted) -> bool:
    """Return whether the readiness probe of the pod succeeds."""
    [container] = one(things(), "Deployment", "redis")["spec"]["template"]["spec"]["containers"]
    _, *arguments = container["readinessProbe"]["exec"]["command"]
    arguments = [argument.replace("/etc/redis-tls", str(server.directory)) for argument in arguments]
    command = ["redis-cli", "-p", str(server.port), *arguments]
    environ = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": PASSWORD}
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0


def patient(url: str) -> Redis:
    """Return a service's client with timeouts for a busy machine."""
    return open_redis(url, name="order-1", socket_timeout=10, connect_timeout=10)


async def test_a_service_connects_to_redis_with_verified_tls(encrypted: Encrypted) -> None:
    client = patient(encrypted.url())
    async with closing(client):
        assert await client.ping()


async def test_redis_connections_share_one_load_of_the_system_certificates(
    encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many new connections at once, loading it each time takes longer than a request may wait for Redis."""
    made = []
    make = ssl.create_default_context

    def count() -> ssl.SSLContext:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", count)
    client = patient(encrypted.url())
    async with closing(client):
        await asyncio.gather(*(client.ping() for _ in range(8)))
        assert len({one_["id"] for one_ in await client.client_list() if one_["name"] == "order-1"}) > 1
    assert len(made) == 1


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (lambda server, other: server.url(authority=other), "certificate verify failed"),
        (lambda server, _: server.url().partition("?")[0], "certificate verify failed"),
        (lambda server, _: server.url(host=LOOPBACK), "certificate is not valid for '127.0.0.1'"),
        (lambda server, other: server.url(authority=other.with_name("nowhere")), "No such file"),
        (lambda server, _: server.url().replace("rediss:", "redis:").partition("?")[0], "closed|reset|lost"),
    ],
    ids=["another authority", "no authority", "another name", "a file that is not there", "no TLS"],
)
async def test_an_untrusted_redis_is_refused_with_the_reason(
    spoilt: Callable[[Encrypted, Path], str], why: str, encrypted: Encrypted, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(Authority().certificate)
    url = spoilt(encrypted, tmp_path / "ca.crt")
    client = patient(url)
    async with closing(client):
        with pytest.raises(redis.ConnectionError, match=why):
            await client.ping()
    with pytest.raises(UnreachableError) as refused:
        reach_redis(url)
    assert refused.match("cannot be used")


def test_a_platform_works_with_an_encrypted_redis(
    encrypted: Encrypted, tmp_path: Path, order_database: str, inventory_database: str
) -> None:
    """Redis itself lists its clients, and has no other port."""
    url = encrypted.url()
    with processes(tmp_path, order_database, inventory_database, url) as services, redis.Redis.from_url(url) as client:
        shop = Shop(services, order_database, inventory_database)
        shop.stock("ps5", 100)
        services.start(*shop.everyone, services.frontend(shop.order, shop.inventory))
        wanted = {f"valerix-{name}" for name in ("order-1", "inventory-1", "worker-1", "worker-1-reader")}
        eventually(lambda: wanted | {"frontend-1"} <= {one_["name"] for one_ in client.client_list()})

        def is_cached() -> bool:
            """Return True if a new order is cached; on a busy machine, caching an order may be skipped."""
            placed, cached = shop.place(), cache.read(url)
            assert cached.unavailable_reason is None
            return placed.json()["order_id"] in {order.order_id for order in cached.orders.values()}

        eventually(is_cached)


def test_a_service_that_does_not_trust_its_redis_serves_without_it_and_reports_why(
    encrypted: Encrypted, tmp_path: Path, order_database: str, inventory_database: str
) -> None:
    (tmp_path / "ca.crt").write_bytes(Authority().certificate)
    url = encrypted.url(authority=tmp_path / "ca.crt")
    with processes(tmp_path, order_database, inventory_database, url) as services:
        shop = Shop(services, order_database, inventory_database)
        shop.stock("ps5", 100)
        services.start(shop.inventory, shop.order)
        ask = f"{shop.order.url}/health"
        eventually(lambda: "certificate verify failed" in services.client.get(ask).json()["checks"]["redis"]["detail"])
        assert services.client.get(ask).json()["status"] == "degraded"
        assert shop.place().status_code == 201


def test_the_doctor_accepts_an_encrypted_redis_and_fails_an_untrusted_one(encrypted: Encrypted, tmp_path: Path) -> None:
    def examined(url: str) -> list[Any]:
        setup = Setup("local", tmp_path, {REDIS_URL: url}, None)
        return [finding.check for one in check_tasks(setup) for finding in one.check()]

    assert [check.status for check in examined(encrypted.url())] == ["ok", "ok"]
    (tmp_path / "ca.crt").write_bytes(Authority().certificate)
    [check] = examined(encrypted.url(authority=tmp_path / "ca.crt"))
    assert check.status == "failed"
    assert "certificate verify failed" in check.found


def test_a_forwarded_port_connects_only_to_the_trusted_redis(
    encrypted: Encrypted,
) -> None:
    def through(authority: bytes) -> redis.Redis:
        api = Api(things(), "redis", "data-stores-ca", password=PASSWORD, authority=authority.decode())
        url = from_cluster.cache_of(api, "valerix", forwards("redis", port=encrypted.port))  # type: ignore[arg-type]  # it only reads objects
        assert url is not None
        return redis.Redis.from_url(url)

    with through((encrypted.directory / "ca.crt").read_bytes()) as client:
        assert client.ping()
    with through(Authority().certificate) as client, pytest.raises(redis.ConnectionError, match="verify failed"):
        client.ping()


def test_redis_serves_a_renewed_certificate_after_a_restart(authority: Authority) -> None:
    with open_directory("tls") as directory:
        with redis_in(directory, authority) as started:
            certify(started, Authority())
            assert not is_ready(started), "the probe has the new authority, and the server the old certificate"
        with redis_in(directory, Authority()) as started:
            assert is_ready(started)
