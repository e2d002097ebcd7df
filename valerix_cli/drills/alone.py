"""Has a platform to itself while a drill runs, by a lease that the platform keeps: a second drill is refused."""

import getpass
import socket
import threading
from contextlib import suppress
from typing import Self

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.errors import CliError, GuardError
from valerix_cli.session import Session

LEASE = 15  # seconds that the platform is kept for a drill that was killed
_RENEW_EVERY = 3.0  # seconds
_LIMIT = 2.0  # seconds that a request may take


class Alone:
    """The lease of one run, renewed from a thread of its own. `lost` says who was quicker after it had been lost."""

    def __init__(self, session: Session, run: str, drill: str) -> None:
        self.lost: CliError | None = None
        self._inventory = InventoryClient(session.replicas("inventory", _LIMIT))
        self._run, self._drill, self._by = run, drill, _who()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="drill lease", daemon=True)

    def __enter__(self) -> Self:
        """Raises GuardError, naming the drill that has the platform, and what else keeps the lease from being taken."""
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LIMIT * 4)
        with suppress(CliError):  # it ends by itself
            self._inventory.give_drill_back(self._run)

    def _take(self) -> None:
        self._inventory.take_drill(run=self._run, drill=self._drill, by=self._by, ttl_seconds=LEASE)

    def _keep(self) -> None:
        while not self._over.wait(_RENEW_EVERY):
            try:
                self._take()
            except GuardError as error:
                self.lost = error
                return
            except CliError:
                continue  # away for a moment, which may well be the point of the drill


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"[:200]
