"""A platform started by `valerix up` in a temporary directory, stopped and wiped in any case."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.audit import ITEMS, shelve
from tests.benchmarks.errors import Broken
from valerix_cli.local.stack import INVENTORY_DB, Secrets, Stack, read_secrets, read_stack

VALERIX = Path(sys.executable).with_name("valerix")
SETTINGS = {"VALERIX_BACKLOG_CAP": "1000000"}
"""Settings that differ from the defaults: under chaos more orders queue than the default limit allows."""
HOT = "hot"
PLENTY = 10**9  # of each item
SHOWN = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_wal_size")


@dataclass(frozen=True)
class Live:
    """A running platform: `valerix` runs commands on it, the other members locate its parts."""

    directory: Path

    def valerix(self, *arguments: str) -> Any:
        """Run a command and return the JSON that it prints. Raises Broken if it fails."""
        done = subprocess.run(
            [str(VALERIX), *arguments, "-o", "json", "--no-input", "--yes", "-q"],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and not done.stdout:
            command = " ".join(["valerix", *arguments[:6]])
            raise Broken(f"`{command}` ended with {done.returncode}.", done.stderr.strip(), "valerix logs supervisor")
        return json.loads(done.stdout) if done.stdout else None

    def up(self, *arguments: str) -> None:
        self.valerix("up", "--detach", *arguments)

    @property
    def environ(self) -> dict[str, str]:
        """Environment of the commands, without variables that are set for another platform."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        return {**others, **SETTINGS, "VALERIX_STATE_DIR": str(self.directory)}

    @property
    def stack(self) -> Stack:
        stack = read_stack(self.directory)
        assert stack is not None, "it is up"
        return stack

    @property
    def secrets(self) -> Secrets:
        secrets = read_secrets(self.directory)
        assert secrets is not None, "it was up"
        return secrets

    @property
    def order_urls(self) -> list[str]:
        return [replica.url for replica in self.stack.services["order"]]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the services and servers, by name."""
        services = [(one.name, one.pid) for replicas in self.stack.services.values() for one in replicas]
        servers = [(name, one.pid) for name, one in self.stack.databases.items()]
        return {name: pid for name, pid in services + servers if pid is not None}

    def url(self, database: str) -> str:
        """Return a connection string of the server's administrator."""
        server = self.stack.databases["postgres"]
        return f"postgresql://postgres:{self.secrets.postgres_admin_password}@{server.host}:{server.port}/{database}"

    def server_settings(self) -> dict[str, str]:
        """Return the server's version and settings as the server reports them."""
        with psycopg.connect(self.url("postgres")) as conn:
            found = {name: conn.execute(f"SHOW {name}".encode()).fetchone() for name in ("server_version", *SHOWN)}
        return {name: row[0] for name, row in found.items() if row}


@contextmanager
def live(directory: Path, *arguments: str) -> Iterator[Live]:
    """Yield a new platform with ample stock of the hot item and of 1,000 others."""
    shop = Live(directory)
    try:
        shop.up(*arguments)
        shelve(shop.url(INVENTORY_DB), [HOT, *ITEMS], PLENTY)
        yield shop
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        shop.valerix("down", "--wipe")
        signal.signal(signal.SIGINT, before)
