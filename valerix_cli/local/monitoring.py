"""Prometheus and Alertmanager of one platform: started after what they watch, stopped before it."""

import asyncio
from pathlib import Path

from valerix_cli.local import home
from valerix_cli.local.child import Household
from valerix_cli.local.crew import Crew
from valerix_cli.local.plan import Replica
from valerix_cli.local.ports import LOOPBACK, free_port
from valerix_cli.local.prometheus import Alertmanager, Prometheus, program
from valerix_cli.local.state import Database

PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093  # where they are looked for first


class Monitoring:
    """Both, if they are wanted."""

    def __init__(self, directory: Path, household: Household) -> None:
        self._directory = directory / home.MONITORING
        self._servers = Crew(directory, household)

    def places(self) -> dict[str, Database]:
        return self._servers.places()

    async def start(self, fleet: tuple[Replica, ...], webhook: str | None, *, free_ports: bool) -> None:
        """Raises CliError, also when one of them is not installed."""
        programs = program("Alertmanager"), program("Prometheus")
        first, second = (None, None) if free_ports else (ALERTMANAGER_PORT, PROMETHEUS_PORT)
        manager = Alertmanager(programs[0], self._directory / "alertmanager", free_port(wanted=first), webhook)
        manager = await self._servers.run(manager, "system")
        await self._servers.run(
            Prometheus(
                programs[1],
                self._directory / "prometheus",
                free_port(wanted=second),
                fleet,
                f"{LOOPBACK}:{manager.port}",
            ),
            "system",
        )

    async def stop(self, hurry: asyncio.Event) -> None:
        await self._servers.stop(hurry)
