"""A Lease that allows one apply, rollback or delete at a time in a namespace; renewed while it is held.

Times are the API server's, so clocks of different machines need not agree.
"""

import getpass
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import MANAGED_BY, MANAGER, Object, Ref
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import CliError, GuardError

NAME = "valerix"
DURATION = 60
"""Seconds after the last renewal at which an expired lease may be acquired."""
_RENEW_EVERY = 15.0  # seconds
_API_VERSION = "coordination.k8s.io/v1"


class LeaseLostError(CliError):
    """Another process holds the lease by now."""


class Lease:
    """The lease of one namespace. `operation` is shown to others that wait for it."""

    def __init__(self, api: Api, namespace: str, operation: str) -> None:
        self._api, self._operation = api, operation
        self._ref = Ref(_API_VERSION, "Lease", namespace, NAME)
        self._holder = f"{_user()}@{socket.gethostname()}, process {os.getpid()}: {operation}"
        self._held: Object | None = None
        self._lost: str | None = None
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def acquire(self) -> None:
        """Acquire the lease. Raises GuardError if another process holds it."""
        while self._held is None:
            live = self._api.get(self._ref)
            try:
                if live is None:
                    self._held = self._api.create(self._desired())
                else:
                    self._refuse_held(live)
                    self._held = self._api.replace(self._desired(live["metadata"]["resourceVersion"]))
            except ApiError as error:
                if not error.is_outdated:  # another process was faster: read its name
                    raise
        self._renewing.start()

    def check(self) -> None:
        """Raise LeaseLostError once another process holds it, as when this one was stopped for a minute."""
        if self._lost is not None:
            raise LeaseLostError(
                f"Another client holds the lease: {self._lost}.",
                f"this {self._operation} did not renew its lease for {DURATION} s, so it was taken",
                "valerix cluster status; then again",
            )

    def release(self) -> None:
        """Release the lease, if it is still held."""
        self._ended.set()
        if self._renewing.is_alive():
            self._renewing.join()
        if self._held is not None and self._lost is None:
            with suppress(CliError):  # it expires
                self._api.delete(self._ref, uid=self._held["metadata"]["uid"])
        self._held = None

    def _desired(self, version: str | None = None) -> Object:
        now = self._api.transport.now().isoformat(timespec="microseconds")
        metadata = {"name": NAME, "namespace": self._ref.namespace, "labels": {MANAGED_BY: MANAGER}}
        return {
            "apiVersion": _API_VERSION,
            "kind": "Lease",
            "metadata": metadata | ({"resourceVersion": version} if version else {}),
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": DURATION,
                "acquireTime": now,
                "renewTime": now,
            },
        }

    def _refuse_held(self, live: Object) -> None:
        spec = live["spec"]
        renewed = datetime.fromisoformat(spec["renewTime"])
        left = spec["leaseDurationSeconds"] - (self._api.transport.now() - renewed).total_seconds()
        if left > 0:
            raise GuardError(
                f"Not done: {self._operation} in namespace {self._ref.namespace}.",
                f"{spec['holderIdentity']} is working there",
                f"wait until it has ended; where it was killed, {left:.0f} s",
            )

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_EVERY):
            if self._held is None:
                return
            renewed = {
                **self._held,
                "spec": {**self._held["spec"], "renewTime": self._desired()["spec"]["renewTime"]},
            }
            try:
                self._held = self._api.replace(renewed)
            except ApiError as error:
                if error.is_outdated or error.is_absent:
                    live = self._api.get(self._ref)
                    self._lost = live["spec"]["holderIdentity"] if live else "the lease was deleted"
                    return
            except CliError:
                continue  # retried at the next renewal, or it expires


@contextmanager
def held(api: Api, namespace: str, operation: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a namespace; yields a function that raises LeaseLostError once it is lost."""
    lease = Lease(api, namespace, operation)
    lease.acquire()
    try:
        yield lease.check
    finally:
        lease.release()


def _user() -> str:
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return str(os.getuid())
