"""The services behind a real PgBouncer in transaction mode: their session settings and locks work there as well."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from services.common.postgres import migrate, open_pool
from services.common.sessions import SESSION
from tests.e2e.shop import Shop, new_key, send_all
from tests.e2e.test_degraded import assert_all_is_well, assert_refused, remark
from tests.pgbouncer import PgBouncer, needs_pgbouncer
from tests.postgres_server import OwnServer, own_server
from tests.processes import eventually, open_directory, processes
from valerix_cli.audit.runner import audit

pytestmark = [needs_pgbouncer, pytest.mark.timed]

SERVER_SESSIONS = 4  # per role, fewer than the services have connections
PATIENCE = 10.0  # seconds that a connection may take on a busy machine


class Place(NamedTuple):
    """A server with both databases as a cluster has them, behind a pooler."""

    own: OwnServer
    pooler: PgBouncer
    directory: Path

    @property
    def pooled(self) -> dict[str, str]:
        return {role: self.pooler.url(url) for role, url in self.own.urls.items()}

    def lenient(self) -> PgBouncer:
        """Return another pooler, which ignores startup parameters, as CloudNativePG's poolers do."""
        with suppress(FileExistsError):
            (self.directory / "lenient").mkdir()
        return pooler_for(self.own, self.directory / "lenient", ignored="options")


def pooler_for(own: OwnServer, directory: Path, ignored: str = "") -> PgBouncer:
    return PgBouncer(
        own.server.port, directory, own.passwords, admin="order_service", size=SERVER_SESSIONS, ignored=ignored
    )


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with open_directory("pooler") as directory, own_server(directory / "postgres") as own:
        own.make()
        (directory / "pgbouncer").mkdir()
        with pooler_for(own, directory / "pgbouncer") as pooler:
            yield Place(own, pooler, directory)


@pytest.fixture(scope="module")
def shop(place: Place, tmp_path_factory: pytest.TempPathFactory, valkey_server: Any) -> Iterator[Shop]:
    """Two order replicas, a worker and inventory behind the pooler; the tests query the server directly."""
    pooled, logs = place.pooled, tmp_path_factory.mktemp("pooler")
    with processes(logs, pooled["order_service"], pooled["inventory_service"], valkey_server.url(6)) as services:
        direct = place.own.urls
        shop = Shop(services, direct["order_service"], direct["inventory_service"], orders=2, DATABASE_POOLED="1")
        shop.stock("ps5", 100_000)
        services.start(*shop.everyone)
        eventually(lambda: [ready(service.url)[0] for service in shop.everyone] == [200] * 4, 15, "everybody ready")
        yield shop


def ready(url: str) -> tuple[int, str]:
    """Return the status of readiness, and its detail about PostgreSQL."""
    response = httpx.get(f"{url}/health/ready", timeout=5)
    return response.status_code, str(response.json()["checks"]["postgres"]["detail"])


def test_racing_repeated_orders_have_one_effect_each(place: Place, shop: Shop) -> None:
    item = shop.new_item(10_000)
    keys = [new_key() for _ in range(150)]
    requests = [
        (shop.orders[number % 2].url, key, {"item_id": item, "quantity": 1})
        for key in keys
        for number in range(4)  # two at each replica
    ]
    answers = asyncio.run(send_all(requests, 32))
    assert {answer.status_code for answer in answers} <= {201, 202, 409, 503}  # 503 if a commit took too long
    shop.wait_settled(30, item)
    replayed = asyncio.run(send_all(requests, 32))
    ids = {key: {a.json()["order_id"] for r, a in zip(requests, replayed, strict=True) if r[1] == key} for key in keys}
    assert {len(found) for found in ids.values()} == {1}
    assert len(shop.statuses(item)) == len(keys)
    shop.assert_exactly_one_effect(item)
    assert audit(place.own.sources).verdict == "clean"


def test_session_settings_are_kept_behind_a_pooler_once_they_are_stored_with_the_role(
    place: Place,
) -> None:
    def found() -> dict[str, str]:
        with psycopg.connect(place.pooled["order_service"], autocommit=True, prepare_threshold=None) as conn:
            return dict(
                conn.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(SESSION)])
            )

    assert found() == SESSION
    place.own.tell("ALTER ROLE order_service IN DATABASE order_db RESET ALL")
    place.pooler.tell("RECONNECT")
    assert not set(found().items()) & (set(SESSION.items()) - {("TimeZone", "UTC")})
    migrate(place.own.urls["order_service"], "services.order")
    place.pooler.tell("RECONNECT")
    assert found() == SESSION


async def test_a_transaction_of_a_stopped_process_is_ended_by_the_server(place: Place, shop: Shop) -> None:
    item = shop.new_item(10)
    url = place.pooled["inventory_service"]
    async with (
        open_pool(url, name="stopped", size=1, pooled=True) as stopped,
        open_pool(url, name="other", size=1, pooled=True) as other,
    ):

        async def stop_in_mid_transaction() -> None:
            async with stopped.connection(PATIENCE) as conn, conn.transaction():
                await conn.execute("UPDATE inventory SET quantity = quantity - 1 WHERE item_id = %s", [item])
                async with other.connection(PATIENCE) as waiting:
                    await waiting.execute("UPDATE inventory SET quantity = quantity WHERE item_id = %s", [item])
                await conn.execute("SELECT 1")  # it resumes

        with pytest.raises((psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)):
            await stop_in_mid_transaction()
    assert shop.quantity(item) == 10


async def test_a_slow_statement_is_cancelled_by_the_server(place: Place) -> None:
    async with (
        open_pool(place.pooled["order_service"], name="slow", size=1, pooled=True) as pool,
        pool.connection(PATIENCE) as conn,
    ):
        conn.limit = 20.0
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            await conn.execute("SELECT pg_sleep(19)")


async def test_frequent_statements_are_not_prepared_in_pooled_sessions(
    place: Place,
) -> None:
    async with open_pool(place.pooled["order_service"], name="often", size=12, pooled=True) as pool:

        async def ask() -> None:
            async with pool.connection(PATIENCE) as conn:
                for number in range(20):  # psycopg prepares a statement at its fifth execution
                    cursor = await conn.execute("SELECT %s + 1", [number])
                    assert await cursor.fetchone() == (number + 1,)

        await asyncio.gather(*(ask() for _ in range(12)))


def test_a_service_whose_role_lacks_a_setting_is_not_ready_until_it_is_restored(place: Place, shop: Shop) -> None:
    place.own.tell("ALTER ROLE order_service IN DATABASE order_db RESET statement_timeout")
    place.pooler.tell("RECONNECT")
    reason = eventually(lambda: (r := ready(shop.order.url))[0] == 503 and r[1], 5, "not ready")
    assert "statement_timeout = 0, not 5s: run services.order.migrate" in str(reason)
    migrate(place.own.urls["order_service"], "services.order")
    place.pooler.tell("RECONNECT")
    eventually(lambda: ready(shop.order.url)[0] == 200, 5, "ready again")


def test_a_service_not_configured_for_the_pooler_is_not_ready_and_names_the_setting(place: Place, shop: Shop) -> None:
    with place.lenient() as lenient:
        order = shop.services.order("http://127.0.0.1:9")
        order.environ["VALERIX_DATABASE_URL"] = lenient.url(place.own.urls["order_service"])
        shop.services.start(order)
        reason = eventually(lambda: (r := ready(order.url))[0] == 503 and r[1], 5, "not ready")
        assert "set VALERIX_DATABASE_POOLED=1" in str(reason)
        order.kill()
        order.start(DATABASE_POOLED="1")
        order.wait_ready()
        eventually(lambda: ready(order.url)[0] == 200, 5, "ready")
        order.kill()


def test_migrations_refuse_a_pooler(place: Place) -> None:
    with (
        place.lenient() as lenient,
        pytest.raises(psycopg.OperationalError, match="behind a pooler: migrate on the server itself"),
    ):
        migrate(lenient.url(place.own.urls["order_service"]), "services.order")


def test_a_killed_pooler_loses_no_order(place: Place, shop: Shop) -> None:
    keys = [new_key() for _ in range(20)]
    place.pooler.kill()
    refused = shop.place(key=keys[0])
    assert_refused(refused)
    place.pooler.start()
    assert_all_is_well(shop, keys)


def test_commits_that_wait_for_a_standby_are_detected_behind_a_pooler(place: Place, shop: Shop) -> None:
    """A pooler does not report which server processes were abandoned."""
    keys = [new_key() for _ in range(10)]
    place.own.tell("ALTER SYSTEM SET synchronous_standby_names = 'missing'", "SELECT pg_reload_conf()")
    try:
        assert_refused(shop.place(key=keys[0]))
        eventually(lambda: "wait for a synchronous standby" in remark(shop.order), 5, "a remark")
        assert_refused(shop.place(key=keys[1]))
    finally:
        place.own.tell("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    assert_all_is_well(shop, keys)
