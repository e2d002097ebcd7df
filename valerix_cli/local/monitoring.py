"""Prometheus and Alertmanager of one platform: started after the services, stopped before them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from valerix_cli.local import state_directory
from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.launch import Account
from valerix_cli.local.ports import LOOPBACK, free_port
from valerix_cli.local.prometheus import Alertmanager, Prometheus, program
from valerix_cli.local.server_group import ServerGroup
from valerix_cli.local.stack import Database
from valerix_cli.local.supervised_process import SupervisorContext
from valerix_cli.local.topology import Replica

ROLES = ("alertmanager", "prometheus")
PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093  # preferred ports


class Monitoring:
    """Prometheus and Alertmanager, if `--monitoring` is set."""

    def __init__(self, directory: Path, context: SupervisorContext, accounts: Mapping[str, Account]) -> None:
        """`accounts` has the user of each by name; without one they run as this user."""
        self._directory = directory / state_directory.MONITORING
        self._context = context
        self._accounts = accounts
        self._servers = ServerGroup(directory, context)

    def places(self) -> dict[str, Database]:
        return self._servers.places()

    async def start(self, fleet: tuple[Replica, ...], webhook: str | None, *, free_ports: bool) -> None:
        """Start both. Raises CliError, also if one of them is not installed."""
        programs = program("Alertmanager"), program("Prometheus")
        first, second = (None, None) if free_ports else (ALERTMANAGER_PORT, PROMETHEUS_PORT)
        manager = Alertmanager(
            programs[0],
            self._directory / "alertmanager",
            free_port(preferred=first),
            webhook,
            account=self._account("alertmanager", programs[0]),
        )
        manager = await self._servers.run(manager, "system")
        await self._servers.run(
            Prometheus(
                programs[1],
                self._directory / "prometheus",
                free_port(preferred=second),
                fleet,
                f"{LOOPBACK}:{manager.port}",
                account=self._account("prometheus", programs[1]),
            ),
            "system",
        )

    def _account(self, name: str, program: Path) -> Account | None:
        account = self._accounts.get(name)
        if account is None or is_open_to_all(program):
            return account
        self._context.events.warning(f"{name} runs as root, not as a separate user: others may not read {program}")
        return None

    async def stop(self, force_stop: asyncio.Event) -> None:
        await self._servers.stop(force_stop)
