"""The lease that gives a drill exclusive use of a platform. A second drill is refused."""

import getpass
import socket
import threading
from contextlib import suppress
from typing import Self

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.errors import CliError, GuardError
from valerix_cli.session import Session

TTL = 15  # seconds until the lease of a killed drill expires
_RENEW_INTERVAL = 3.0  # seconds
_TIMEOUT = 2.0  # seconds for one request


class PlatformLease:
    """The lease of one run, renewed in a thread. `lost` is set when another drill got the lease after it expired."""

    def __init__(self, session: Session, run: str, drill: str) -> None:
        self.lost: CliError | None = None
        self._inventory = InventoryClient(session.replicas("inventory", _TIMEOUT))
        self._run, self._drill, self._holder = run, drill, _holder()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="drill lease", daemon=True)

    def __enter__(self) -> Self:
        """Raises GuardError, naming the drill that holds the lease, and CliError if it cannot be acquired."""
        self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._thread.join(_TIMEOUT * 4)
        with suppress(CliError):  # it expires
            self._inventory.give_drill_back(self._run)

    def _acquire(self) -> None:
        self._inventory.take_drill(run=self._run, drill=self._drill, by=self._holder, ttl_seconds=TTL)

    def _renew(self) -> None:
        while not self._released.wait(_RENEW_INTERVAL):
            try:
                self._acquire()
            except GuardError as error:
                self.lost = error
                return
            except CliError:
                continue  # unreachable for a moment, perhaps because of a fault of the drill


def _holder() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the uid has no name
        user = "an unknown user"
    return f"{user}@{socket.gethostname()}"[:200]
