"""Turns on the gremlins of a drill in the inventory service, and turns them off."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.wire import Activation
from valerix_cli.drills.model import MAX_FAULT_SECONDS, Drill, Fault
from valerix_cli.drills.receipt import Hit
from valerix_cli.errors import CliError

_ROLLBACK_TIMEOUT = 10.0  # seconds
_RETRY_INTERVAL = 0.2  # seconds


class GremlinControl:
    """The gremlins that are live, and the activation that inventory has for them.

    An activation holds all gremlins that are live at the same time, so each change makes a new one. With `script`, the
    gremlins hit exactly the listed attempts and stay live until the end: the time of an attempt is not reproducible.
    """

    def __init__(
        self, drill: Drill, inventory: InventoryClient, clock: Callable[[], float], script: Sequence[Hit] | None
    ) -> None:
        self._drill, self._inventory, self._clock, self._script = drill, inventory, clock, script
        self._ends: dict[int, float] = {}  # the end of each live gremlin, by the number of its fault
        self._is_outdated = False  # inventory has not got the latest change

    @property
    def is_scripted(self) -> bool:
        return self._script is not None

    @property
    def is_outdated(self) -> bool:
        return self._is_outdated

    @property
    def live(self) -> list[int]:
        """The numbers of the faults that are live."""
        return [*self._ends]

    def expired(self, now: float) -> list[int]:
        """Return the active faults that have to end by now."""
        return [number for number, end in self._ends.items() if now >= end]

    def add(self, number: int, now: float) -> None:
        self._ends[number] = now + self._duration(self._drill.faults[number])
        self._is_outdated = True

    def remove(self, number: int) -> None:
        del self._ends[number]
        self._is_outdated = True

    def apply(self) -> Activation | None:
        """Have inventory activate the gremlins that are live. Returns the activation, None without any.

        Raises CliError, and may then be called again.
        """
        if not self._ends:
            self._inventory.deactivate()
            activation = None
        else:
            activation = self._inventory.activate(self._request())
        self._is_outdated = False
        return activation

    def _duration(self, fault: Fault) -> float:
        if self._script is not None:
            return MAX_FAULT_SECONDS
        return fault.ttl or self._drill.load.seconds - fault.at

    def _request(self) -> dict[str, Any]:
        """Build the request for all live gremlins. Its lease ends with the first of them."""
        remaining = min(self._ends.values()) - self._clock()
        request: dict[str, Any] = {
            "latency": False,
            "seed": self._drill.seed,
            "ttl_seconds": max(1, math.ceil(min(remaining, MAX_FAULT_SECONDS))),
            "reason": self._drill.activation_reason,
        }
        for fault in (self._drill.faults[number] for number in self._ends):
            if fault.gremlin == "latency":
                request |= {"latency": True, "latency_ms": round(fault.delay * 1000), "latency_rate": float(fault.rate)}
            else:
                request[f"{field_name(fault.target)}_rate"] = float(fault.rate)
        if self._script is not None:
            request["script"] = [
                {"gremlin": hit.gremlin, "order_id": hit.order_id, "attempt": hit.attempt} for hit in self._script
            ]
        return request


def turn_off(inventory: InventoryClient) -> str:
    """Turn gremlins off, retrying for ten seconds until none is live. Returns the reason for a failure, or ""."""
    deadline, failure = time.monotonic() + _ROLLBACK_TIMEOUT, ""
    while time.monotonic() < deadline:
        try:
            inventory.deactivate()
            if inventory.chaos().live is None:
                return ""
        except CliError as error:
            failure = str(error)
        time.sleep(_RETRY_INTERVAL)
    return failure or "one was turned on again"


def field_name(gremlin: str) -> str:
    """Return the gremlin's name in fields of the API."""
    return gremlin.replace("-", "_")
