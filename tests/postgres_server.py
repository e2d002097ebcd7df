"""A PostgreSQL for one test, with the databases and roles that a cluster has."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from services.common.postgres import migrate
from tests.e2e.shop import Shop
from tests.processes import processes
from valerix_cli.audit import Sources
from valerix_cli.local.databases import OWNERS, at_database, make_databases
from valerix_cli.local.servers import PostgresServer, running
from valerix_cli.local.stack import AUDITOR, Secrets

LIMIT = 120  # seconds that a program may take
PASSWORD = "only-for-this-test"
SERVICES = {"order_service": "services.order", "inventory_service": "services.inventory"}
"""The package that migrates each role's database."""


@dataclass(frozen=True)
class OwnServer:
    """A running server. `passwords` has one for each role."""

    server: PostgresServer
    passwords: Mapping[str, str]

    @property
    def urls(self) -> dict[str, str]:
        """Connection string of each service's role."""
        admin = self.server.url("postgres")
        return {
            role: at_database(admin, database, user=role, password=self.passwords[role])
            for role, database in OWNERS.items()
        }

    @property
    def sources(self) -> Sources:
        """Connection strings for an audit."""
        admin = self.server.url("postgres")
        return Sources(
            *(
                at_database(admin, database, user=AUDITOR, password=self.passwords[AUDITOR])
                for database in OWNERS.values()
            )
        )

    def tell(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each committed without waiting for a standby."""
        url, options = self.server.url(database), "-c synchronous_commit=local"
        with psycopg.connect(url, autocommit=True, options=options) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        done = subprocess.run(
            [str(self.server.programs / program), *arguments],
            cwd="/",
            user=self.server.account.uid if self.server.account else None,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def give(self, directory: Path) -> Path:
        """Create a directory that the server can write to."""
        directory.mkdir()
        if self.server.account:
            os.chown(directory, self.server.account.uid, self.server.account.gid)
        return directory

    def make(self) -> None:
        """Create roles and databases and migrate them, as the job `migrate` does; can be repeated."""
        make_databases(self.server.url("postgres"), self.passwords)
        for role, package in SERVICES.items():
            migrate(self.urls[role], package)


@contextmanager
def own_server(directory: Path, passwords: Mapping[str, str] | None = None) -> Iterator[OwnServer]:
    """Run a server with its data in `directory`; without databases, unless it ran there before."""
    directory.mkdir(exist_ok=True)
    with running(PostgresServer.at(directory, password=PASSWORD, fsync=False)) as server:
        yield OwnServer(server, passwords or Secrets.generate().database_passwords)


@contextmanager
def shop_on(own: OwnServer, logs: Path, redis_url: str) -> Iterator[Shop]:
    """Yield one replica of each service, with the roles of a cluster; none is started yet."""
    logs.mkdir()
    order, inventory = own.urls["order_service"], own.urls["inventory_service"]
    with processes(logs, order, inventory, redis_url) as services:
        yield Shop(services, order, inventory, LEASE_SECONDS="2", BREAKER_OPEN_SECONDS="1")
