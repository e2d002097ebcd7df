"""A degraded PostgreSQL: the responses, readiness, health and metrics of the services."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from services.common.postgres import migrate
from tests.conftest import Databases
from tests.e2e.proxied_shop import SETTINGS, load
from tests.e2e.shop import Shop, new_key
from tests.machine_load import slowdown
from tests.processes import Service, eventually, open_directory, processes
from valerix_cli.local.servers import PostgresServer, running

pytestmark = pytest.mark.timed

TOLD_WITHIN = 3.5  # seconds
BACK_WITHIN = 5.0  # seconds
COMMIT_TIMEOUT = 2.5  # seconds that a commit may take
UNAVAILABLE = "urn:valerix:problem:database-unavailable"


class Server(NamedTuple):
    """A PostgreSQL of the tests and a platform on it."""

    server: PostgresServer
    shop: Shop

    def tell(self, *statements: str) -> None:
        """Run statements as the superuser, each committed without waiting for a standby."""
        url = self.server.url("postgres")
        with psycopg.connect(url, autocommit=True, options="-c synchronous_commit=local") as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def ask(self, query: str) -> Any:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as conn:
            return (conn.execute(query.encode()).fetchone() or (None,))[0]

    @contextmanager
    def altered(self, name: str, value: str) -> Iterator[None]:
        """Change a server setting during the block."""
        self.tell(f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")
        eventually(lambda: self.ask(f"SHOW {name}") == value)
        try:
            yield
        finally:
            self.tell(f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, valkey_server: Any) -> Iterator[Server]:
    with open_directory("degraded") as directory, ExitStack() as stack:
        server = stack.enter_context(running(PostgresServer.at(directory, password="only-for-this-test", fsync=False)))
        databases = Databases(server)
        order, inventory = databases.make("order"), databases.make("inventory")
        migrate(order, "services.order")
        migrate(inventory, "services.inventory")
        logs = tmp_path_factory.mktemp("degraded")
        services = stack.enter_context(processes(logs, order, inventory, valkey_server.url(5)))
        shop = Shop(services, order, inventory, orders=1, **SETTINGS)
        shop.stock("ps5", 100_000)
        services.start(*shop.everyone)
        yield Server(server, shop)


@pytest.fixture
def server(own: Server) -> Server:
    eventually(lambda: own.shop.place().status_code == 201, 15, "business as usual")
    return own


def health(service: Service, path: str = "/health/ready") -> tuple[int, dict[str, Any]]:
    response = httpx.get(f"{service.url}{path}", timeout=5)
    return response.status_code, response.json()


def metric(service: Service, name: str) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def assert_refused(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["type"]) == (503, UNAVAILABLE), response.text
    assert "Retry-After" in response.headers
    assert response.elapsed.total_seconds() < TOLD_WITHIN * slowdown()


def remark(service: Service) -> str:
    """Return the database detail of a ready service's health, from one request; "" when it is healthy."""
    status, document = health(service)
    return str(document["checks"]["postgres"]["detail"]) if (status, document["status"]) == (200, "degraded") else ""


def assert_says_so(service: Service, why: str) -> None:
    """Assert that a service stays ready with a reason, and counts refusals. It checks itself once per second."""
    assert why in eventually(lambda: remark(service), 5, f"a remark of {service.name}")
    assert metric(service, f'db_write_refusals_total{{reason="{why}"}}') > 0


def assert_all_is_well(shop: Shop, keys: list[str]) -> None:
    """Assert that orders are served again, and each earlier key has exactly one effect and a matching response."""
    eventually(lambda: shop.place().status_code == 201, BACK_WITHIN, "business as usual")
    for key in keys:
        eventually(lambda key=key: shop.place(key=key).status_code == 201, 15, f"an answer to {key}")  # type: ignore[misc]  # a default binds it
    shop.wait_settled(20)
    shop.assert_exactly_one_effect()
    for service in shop.everyone:
        eventually(lambda service=service: health(service)[1]["status"] == "ok", 10, service.name)  # type: ignore[misc]  # a default binds it


def test_without_the_synchronous_standby_writes_are_refused_and_reads_are_served(server: Server) -> None:
    shop = server.shop
    known = new_key()
    order_id = shop.place(key=known).json()["order_id"]
    keys = [new_key() for _ in range(30)]
    with server.altered("synchronous_standby_names", "gone"):
        assert_refused(shop.place(key=keys[0]))
        eventually(lambda: metric(shop.order, "db_commits_held_up") > 0, 5, "commits that are held up")
        refused = shop.place()
        with load(f"{shop.order.url}/api/orders?limit=1") as lists:
            for key in keys:
                assert_refused(refused := shop.place(key=key))
            assert refused.elapsed.total_seconds() < COMMIT_TIMEOUT * slowdown(), "it is refused without trying"
            assert "standby" in refused.json()["detail"]
            assert shop.place(key=known).status_code == 201
            assert shop.get(order_id)["status"] == "confirmed"
            restocking = time.monotonic()
            restock = shop.operator.post(
                f"{shop.inventory.url}/api/inventory/ps5/restock",
                json={"quantity": 1},
                headers={"Idempotency-Key": known},
            )
            assert_refused(restock)
            eventually(lambda: metric(shop.inventory, "db_commits_held_up") > 0, 5, "inventory's commits")
            assert time.monotonic() - restocking < (BACK_WITHIN + TOLD_WITHIN) * slowdown()
            before = server.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            for key in keys:
                assert_refused(shop.place(key=key))
            eventually(lambda: len(lists.answers) > 100)
            after = server.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        assert after <= before + 1, "waiting commits use up the server's connections"
        assert {answer.status for answer in lists.answers} == {200}
        for service in (shop.order, shop.inventory):
            for path in ("/health", "/health/ready", "/health/deep"):
                eventually(lambda at=(service, path): health(*at)[1]["status"] == "degraded", 5, path)  # type: ignore[misc]  # a default binds it
                status, document = health(service, path)
                assert (status, document["status"]) == (200, "degraded"), document
                assert "standby" in document["checks"]["postgres"]["detail"]
    assert_all_is_well(shop, keys)
    assert metric(shop.order, "db_commits_held_up") == 0


@pytest.mark.long
def test_a_commit_whose_standby_wait_is_cancelled_keeps_its_key(server: Server) -> None:
    """PostgreSQL then commits locally, without the standby."""
    shop, key = server.shop, new_key()
    with server.altered("synchronous_standby_names", "gone"):
        assert_refused(shop.place(key=key))
        eventually(lambda: metric(shop.order, "db_commits_held_up") > 0, 5, "commits that are held up")
        server.tell("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        stored = eventually(
            lambda: shop.client.get(f"{shop.order.url}/api/orders?idempotency_key={key}").json()["orders"]
        )
        again = shop.place(key=key)
        assert again.status_code in {202, 409, 503}, again.text  # its lease is active, or has ended
    assert_all_is_well(shop, [key])
    assert shop.place(key=key).json()["order_id"] == stored[0]["order_id"]


@pytest.mark.long
def test_a_read_only_database_refuses_writes_and_serves_reads(server: Server) -> None:
    shop, keys = server.shop, [new_key() for _ in range(5)]
    known = new_key()
    order_id = shop.place(key=known).json()["order_id"]
    with server.altered("default_transaction_read_only", "on"):
        for key in keys:
            assert_refused(shop.place(key=key))
        assert shop.get(order_id)["status"] == "confirmed"
        assert_says_so(shop.order, "read-only")
    assert_all_is_well(shop, keys)


@pytest.mark.long
def test_a_database_with_a_full_disk_refuses_writes_and_serves_reads(server: Server) -> None:
    """PostgreSQL uses this error code for any failed write on a full disk, so a trigger can simulate it."""
    shop, keys = server.shop, [new_key() for _ in range(5)]
    order_id = shop.place().json()["order_id"]
    with psycopg.connect(shop.order_database) as conn:
        conn.execute(
            """
            CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON orders EXECUTE FUNCTION full_disk()
            """
        )
    for key in keys:
        assert_refused(shop.place(key=key))
    assert shop.get(order_id)["status"] == "confirmed"
    assert_says_so(shop.order, "disk-full")
    with psycopg.connect(shop.order_database) as conn:
        conn.execute("DROP FUNCTION full_disk CASCADE")
    assert_all_is_well(shop, keys)


@pytest.mark.long
@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("ALTER ROLE postgres PASSWORD 'rotated'", "ALTER ROLE postgres PASSWORD 'only-for-this-test'"),
        ('ALTER DATABASE "order" ALLOW_CONNECTIONS false', 'ALTER DATABASE "order" ALLOW_CONNECTIONS true'),
    ],
    ids=["another password", "no connections"],
)
def test_readiness_fails_while_no_database_connection_is_available(server: Server, away: str, back: str) -> None:
    shop, keys = server.shop, [new_key() for _ in range(5)]
    with psycopg.connect(server.server.url("postgres"), autocommit=True) as superuser:
        superuser.execute(away.encode())
        superuser.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'order'")
        try:
            for key in keys:
                assert_refused(shop.place(key=key))
            eventually(lambda: health(shop.order)[0] == 503, 5, "readiness ends")
            assert health(shop.order, "/health/live")[0] == 200
        finally:
            superuser.execute(back.encode())
    assert_all_is_well(shop, keys)
