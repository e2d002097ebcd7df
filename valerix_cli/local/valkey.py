"""How an embedded Valkey is run: values and commands, no process."""

import os
import signal
import socket
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from valerix_cli.local.aside import set_aside
from valerix_cli.local.binaries import embedded_valkey, is_open_to_all
from valerix_cli.local.launch import Account, Launch
from valerix_cli.local.ports import LOOPBACK, free_port

APPEND_ONLY = "appendonlydir"  # its own default
_HERE = Path("/proc/self/cwd")  # it makes every path an absolute one


@dataclass(frozen=True)
class ValkeyServer:
    """Valkey with its append-only file in `directory`, on 127.0.0.1 only, behind a password."""

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
        """Redis holds nothing that may not be lost."""
        return set_aside(self.directory / APPEND_ONLY)

    def running(self) -> Launch:
        """The settings go into a file only it may read: a command line is everybody's to see.

        Where its account may not come to the directory from outside, it stands in it and names nothing above.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        closed = self.account is not None and not is_open_to_all(self.directory.parent)
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self.password,
            "dir": "." if closed else f'"{self.directory}"',
            "appendonly": "yes",
            "appenddirname": APPEND_ONLY,
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
        }
        file = self.directory / "valkey.conf"
        _write_anew(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
        if self.account:
            _give(self.directory, self.account)
        where = str(_HERE / file.name if closed else file)
        return Launch((str(self.program), where), self.directory, {"PATH": os.defpath}, self.account)

    def answers(self) -> bool:
        """AUTH and PING over a plain socket: the client library would cost a fifth of a second to import."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                said = b""
                while said.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each of the two commands
                    if not (part := connection.recv(256)):
                        return False
                    said += part
        except OSError:
            return False
        return said == b"+OK\r\n+PONG\r\n"

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"


def _write_anew(file: Path, text: str) -> None:
    """A new file, never what lies there: the directory may be its account's, who could have put a link in its place."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as new:
        new.write(text)


def _give(directory: Path, account: Account) -> None:
    """Make a directory and all in it the account's, but nothing that has another name elsewhere (a hard link)."""
    os.lchown(directory, account.uid, account.gid)
    for place, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(place, name)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                os.lchown(path, account.uid, account.gid)
