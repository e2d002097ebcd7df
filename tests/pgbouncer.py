"""A real PgBouncer in transaction mode, in front of a server of the tests."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from psycopg import conninfo

from tests.processes import eventually
from valerix_cli.local.ports import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer on the path: apt-get install pgbouncer")

_CONFIG = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users.txt
admin_users = {admin}
pool_mode = transaction
default_pool_size = {size}
server_login_retry = 0.2
ignore_startup_parameters = {ignored}
{more}
"""


class PgBouncer:
    """A running pooler. Clients of `users` (role to password) share `size` sessions per role and database."""

    def __init__(
        self, server: int, directory: Path, users: Mapping[str, str], *, admin: str, size: int = 4, ignored: str = ""
    ) -> None:
        self._directory, self._users, self._admin = directory, users, admin
        self.port = free_port()
        more = "user = nobody" if os.geteuid() == 0 else ""
        text = _CONFIG.format(
            server=server, port=self.port, directory=directory, admin=admin, size=size, ignored=ignored, more=more
        )
        (directory / "pgbouncer.ini").write_text(text)
        (directory / "users.txt").write_text("".join(f'"{role}" "{word}"\n' for role, word in users.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        assert PGBOUNCER is not None
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [PGBOUNCER, str(self._directory / "pgbouncer.ini")], stdout=log, stderr=subprocess.STDOUT
            )
        eventually(self._answers, what=f"PgBouncer answers: {(self._directory / 'log').read_text()[-1000:]}")

    def kill(self) -> None:
        """Kill it, with its clients' transactions."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    def url(self, direct: str) -> str:
        """Return the pooler's connection string of a database, given that of the server."""
        return conninfo.make_conninfo(direct, host="127.0.0.1", port=self.port)

    def tell(self, command: str) -> list[tuple[Any, ...]]:
        """Run a command on its console, such as RECONNECT."""
        with psycopg.connect(self._console(), autocommit=True, connect_timeout=5) as conn:
            cursor = psycopg.ClientCursor(conn).execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def _console(self) -> str:
        return conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, user=self._admin, password=self._users[self._admin], dbname="pgbouncer"
        )

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self.tell("SHOW VERSION")
            return True
        time.sleep(0.05)
        return False
