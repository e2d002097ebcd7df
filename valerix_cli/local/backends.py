"""What the services lean on, PostgreSQL and Redis: ours, the machine's, or somebody else's."""

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from valerix_cli.errors import CliError
from valerix_cli.local import home
from valerix_cli.local.binaries import embedded_postgres, embedded_valkey, system_postgres
from valerix_cli.local.child import Charge, Child, Household, run_to_its_end
from valerix_cli.local.external import DATABASE_URL, REDIS_URL, address_of_database, reach_redis
from valerix_cli.local.logs import log_file
from valerix_cli.local.plan import Backing
from valerix_cli.local.ports import LOOPBACK, free_port, is_free
from valerix_cli.local.servers import ADMIN, PostgresServer, Server, ValkeyServer, unprivileged_account
from valerix_cli.local.state import Database, Secrets
from valerix_cli.local.tasks import together

_START_LIMIT = 120.0  # seconds: after a crash PostgreSQL replays what it had logged
_PORT_ATTEMPTS = 5

AServer = TypeVar("AServer", bound=Server)


class Backends:
    """Both servers of one platform."""

    def __init__(self, directory: Path, secrets: Secrets, household: Household) -> None:
        self._directory = directory
        self._secrets = secrets
        self._household = household
        self._databases: dict[str, Database] = {}
        self._children: dict[str, Child] = {}

    def databases(self) -> dict[str, Database]:
        """Where they are, as far as that is known yet."""
        return {
            name: _with_news(database, self._children.get(name)) for name, database in sorted(self._databases.items())
        }

    async def start(self, postgres: Literal["embedded", "system"] | None, environ: Mapping[str, str]) -> Backing:
        """Have both ready, with the roles and databases of the services. Raises CliError.

        `postgres` None means: what VALERIX_DATABASE_URL names, else the embedded one.
        """
        elsewhere = None if postgres else environ.get(DATABASE_URL)
        admin_url, redis_url = await together(
            self._use_database(elsewhere) if elsewhere else self._run_postgres(postgres or "embedded"),
            self._use_redis(environ[REDIS_URL]) if environ.get(REDIS_URL) else self._run_redis(),
        )
        return Backing(
            database_urls=await asyncio.to_thread(_make_databases, admin_url, self._secrets),
            redis_url=redis_url,
            service_token=self._secrets.service_token,
            operator_token=self._secrets.operator_token,
            dashboard_password=self._secrets.dashboard_password,
        )

    async def stop(self, hurry: asyncio.Event) -> None:
        await together(*(child.stop(hurry) for child in self._children.values()))

    async def _use_database(self, url: str) -> str:
        host, port = await asyncio.to_thread(address_of_database, url)
        self._databases["postgres"] = Database("external", host, port)
        return url

    async def _use_redis(self, url: str) -> str:
        host, port = await asyncio.to_thread(reach_redis, url)
        self._databases["redis"] = Database("external", host, port)
        return url

    async def _run_postgres(self, kind: Literal["embedded", "system"]) -> str:
        account = unprivileged_account()
        programs = system_postgres() if kind == "system" else embedded_postgres(account, self._directory)
        server = PostgresServer(
            programs, self._directory / home.POSTGRES, free_port(), self._secrets.postgres_admin_password, account
        )
        if not server.data.exists() and (others := server.other_versions()):
            self._household.journal.warning(
                f"the data of PostgreSQL {', '.join(others)} stays where it is, unseen by PostgreSQL {server.data.name}"
            )
        server.forget_earlier_run()  # every process of one held the lock that is ours now
        server = await self._run(server, kind)
        return server.url(ADMIN)

    async def _run_redis(self) -> str:
        directory = self._directory / home.VALKEY
        server = ValkeyServer(embedded_valkey(), directory, free_port(), self._secrets.redis_password)
        server = await self._run(server, "embedded")
        return server.url()

    async def _run(self, server: AServer, kind: Literal["embedded", "system"]) -> AServer:
        """Start it, on another port where somebody was quicker to take the one it was to have."""
        log = log_file(self._directory / home.LOGS, server.name)
        if making := server.making():
            self._household.journal.info(f"making a new {server.name} in {making.directory.parent}")
            await run_to_its_end(f"making {server.name}", making, log, self._household)
            server.made()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._databases[server.name] = Database(kind, LOOPBACK, server.port)
            child = Child(_charge(server, log), self._household)
            self._children[server.name] = child
            try:
                await child.start(_START_LIMIT)
            except CliError:
                if child.pid or is_free(server.port) or attempt == _PORT_ATTEMPTS:
                    raise
                server = server.on_port(free_port())
            else:
                break
        return server


def _with_news(database: Database, child: Child | None) -> Database:
    if child is None:
        return database
    return msgspec.structs.replace(
        database,
        pid=child.pid,
        state=child.state,
        restarts=child.restarts,
        last_exit=child.last_exit,
        since=child.since,
    )


def _charge(server: Server, log: Path) -> Charge:
    address = f"{LOOPBACK}:{server.port}"
    hurry = signal.SIGQUIT if isinstance(server, PostgresServer) else signal.SIGKILL
    return Charge(
        server.name,
        address,
        server.port,
        server.running,
        lambda _: server.answers(),  # it knows its own by the password
        log,
        server.stop_signal,
        hurry,
        patience=30.0,
    )


def _make_databases(admin_url: str, secrets: Secrets) -> dict[str, str]:
    """The connection string of each service's role."""
    from valerix_cli.local.databases import make_databases  # noqa: PLC0415 - loads psycopg, while the servers start

    return make_databases(admin_url, secrets)
