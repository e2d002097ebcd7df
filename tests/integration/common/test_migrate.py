"""Bringing a database to the schema that the code expects, and saying so where it is not."""

import pytest

from services.common import migrate
from services.common.postgres import migrate as apply
from services.order.migrate import work
from tests.conftest import Databases
from tests.processes import Processes, eventually, processes


def test_without_its_variable_a_migration_ends_with_2_and_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VALERIX_DATABASE_URL", raising=False)
    with pytest.raises(SystemExit, match="2"):
        migrate.run(work)
    assert capsys.readouterr().err == "VALERIX_DATABASE_URL is not set\n"


def test_without_its_database_a_migration_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALERIX_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/order_db")
    with pytest.raises(SystemExit, match="3"):
        migrate.run(work)
    assert "cannot be reached" in capsys.readouterr().err


@pytest.fixture
def unmigrated(databases: Databases, inventory_database: str) -> tuple[str, str]:
    return databases.make("order_unmigrated"), inventory_database


def test_a_service_whose_schema_is_missing_is_not_ready_until_it_is_there(
    unmigrated: tuple[str, str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    order_database, inventory_database = unmigrated
    with processes(tmp_path_factory.mktemp("bare"), order_database, inventory_database, redis_url) as services:
        order = services.order("http://127.0.0.1:9")
        services.start(order)
        assert ready(services, order.url) == 503
        apply(order_database, "services.order")
        eventually(lambda: ready(services, order.url) == 200)


def ready(services: Processes, url: str) -> int:
    return services.client.get(f"{url}/health/ready").status_code
