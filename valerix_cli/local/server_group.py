"""Servers that are started, kept alive and stopped together, with their addresses."""

import asyncio
import signal
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from valerix_cli.errors import CliError
from valerix_cli.local import state_directory
from valerix_cli.local.logs import last_lines, log_file
from valerix_cli.local.ports import LOOPBACK, free_port, is_free
from valerix_cli.local.servers import PostgresServer, Server
from valerix_cli.local.stack import Database
from valerix_cli.local.supervised_process import ProcessSpec, SupervisedProcess, SupervisorContext, run_to_its_end
from valerix_cli.local.tasks import gather_or_cancel

_START_LIMIT = 120.0  # seconds: after a crash PostgreSQL replays its write-ahead log
_PORT_ATTEMPTS = 5
_OTHER_REASONS = ("No space left on device", "Address already in use", "Cannot allocate memory", "Disk quota exceeded")

AServer = TypeVar("AServer", bound=Server)


class ServerGroup:
    """Some servers of one platform."""

    def __init__(self, directory: Path, context: SupervisorContext) -> None:
        self._directory = directory
        self._context = context
        self._places: dict[str, Database] = {}
        self._children: dict[str, SupervisedProcess] = {}

    def places(self) -> dict[str, Database]:
        """Return the addresses of the servers that have been started."""
        return {name: _with_news(place, self._children.get(name)) for name, place in sorted(self._places.items())}

    def note(self, name: str, place: Database) -> None:
        """Record an external server."""
        self._places[name] = place

    async def stop(self, force_stop: asyncio.Event) -> None:
        await gather_or_cancel(*(child.stop(force_stop) for child in self._children.values()))

    async def run(self, server: AServer, kind: Literal["embedded", "system"]) -> AServer:
        """Start a server, on another port if another process uses its own. Raises CliError."""
        log = log_file(self._directory / state_directory.LOGS, server.name)
        if making := server.making():
            self._context.events.info(f"creating a new {server.name} in {making.directory.parent}")
            await run_to_its_end(f"making {server.name}", making, log, self._context)
            server.made()
        may_discard_data = True
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._places[server.name] = Database(kind, LOOPBACK, server.port)
            child = SupervisedProcess(_spec(server, log), self._context)
            self._children[server.name] = child
            try:
                await child.start(_START_LIMIT)
            except CliError as error:
                if child.exit_code is not None and may_discard_data and (aside := _set_aside(server, log)):
                    may_discard_data = False
                    self._context.events.warning(f"{error.what} {error.why}")
                    self._context.events.warning(damaged_data_warning(server.name, aside))
                    continue
                if child.pid or is_free(server.port) or attempt == _PORT_ATTEMPTS:
                    raise
                server = server.on_port(free_port())
            else:
                break
        return server


def _with_news(place: Database, child: SupervisedProcess | None) -> Database:
    if child is None:
        return place
    return msgspec.structs.replace(
        place,
        pid=child.pid,
        start_time=child.start_time,
        state=child.state,
        restarts=child.restarts,
        last_exit=child.last_exit,
        since=child.since,
    )


def _spec(server: Server, log: Path) -> ProcessSpec:
    address = f"{LOOPBACK}:{server.port}"
    force_stop = signal.SIGQUIT if isinstance(server, PostgresServer) else signal.SIGKILL
    return ProcessSpec(
        server.name,
        address,
        server.port,
        server.running,
        lambda _: server.answers(),  # the password identifies it
        log,
        server.stop_signal,
        force_stop,
        patience=30.0,
        discard_data=lambda: damaged_data_warning(server.name, aside) if (aside := _set_aside(server, log)) else None,
    )


def _set_aside(server: Server, log: Path) -> Path | None:
    """Move its data aside if that may be why it does not start, and return the new place; not if the disk is full."""
    if any(reason in line for line in last_lines(log, 5) for reason in _OTHER_REASONS):
        return None
    return server.set_aside()


def damaged_data_warning(name: str, aside: Path) -> str:
    return f"{name} cannot start with its stored data, which is only a cache: moved to {aside}"
