"""Values and commands to run an embedded Valkey. Starts no process."""

import os
import signal
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from valerix_cli.local.binaries import embedded_valkey
from valerix_cli.local.damaged_data import set_aside
from valerix_cli.local.launch import Account, Launch
from valerix_cli.local.ownership import as_seen, give, write_anew
from valerix_cli.local.ports import LOOPBACK, free_port
from valerix_cli.quoting import glob

APPEND_ONLY = "appendonlydir"  # Valkey's own default


@dataclass(frozen=True)
class ValkeyServer:
    """Valkey with its append-only file in `directory`, on 127.0.0.1 only, with a password."""

    program: Path
    directory: Path
    port: int
    password: str
    account: Account | None = None
    name: str = "redis"
    stop_signal: signal.Signals = signal.SIGTERM

    @classmethod
    def at(cls, directory: Path, *, password: str, port: int | None = None) -> Self:
        return cls(embedded_valkey(), directory, port or free_port(), password)

    def on_port(self, port: int) -> Self:
        return replace(self, port=port)

    def making(self) -> Launch | None:
        return None

    def made(self) -> None: ...

    def set_aside(self) -> Path | None:
        """Move its data aside: Redis stores nothing that must not be lost."""
        return set_aside(self.directory / APPEND_ONLY)

    def running(self) -> Launch:
        """Return the command. The settings are in a private file, because a command line is visible to all users.

        If its account may not enter the parent directories, it is started in `directory` and uses relative paths.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = as_seen(self.directory, self.account)
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self.password,
            "dir": os.curdir,  # the working directory: no path has to be quoted here
            "appendonly": "yes",
            "appenddirname": APPEND_ONLY,
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
        }
        file = self.directory / "valkey.conf"
        write_anew(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
        if self.account:
            give(self.directory, self.account)
        # Valkey expands a pattern in the name, and starts with its defaults if no file matches:
        # on another port, without a password.
        return Launch(
            (str(self.program), glob(str(directory / file.name))), self.directory, {"PATH": os.defpath}, self.account
        )

    def answers(self) -> bool:
        """Send AUTH and PING over a plain socket: the client library would take a fifth of a second to import."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                replies = b""
                while replies.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each of the two commands
                    if not (part := connection.recv(256)):
                        return False
                    replies += part
        except OSError:
            return False
        return replies == b"+OK\r\n+PONG\r\n"

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"
