"""The actions of `valerix top`, with the clients and defaults of the commands."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from valerix_cli.audit import SETTLE_LIMIT, Audit
from valerix_cli.audit import audit as run_audit
from valerix_cli.audit.sources import find_sources
from valerix_cli.clients.chaos_request import Gremlin, merged
from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Activation, Chaos
from valerix_cli.contexts.model import Context


class Actions(Protocol):
    """The actions. Each raises CliError, and may take seconds, so it is run in a thread."""

    def place(self, request: OrderRequest) -> OrderResponse: ...

    def toggle(self, gremlin: Gremlin) -> Activation | None: ...

    def deactivate(self) -> Activation | None: ...

    def audit(self) -> Audit: ...


class PlatformActions:
    """`find` returns the current context; `limit` is the timeout of a request in seconds, None for the default."""

    def __init__(self, find: Callable[[], Context], limit: float | None = None) -> None:
        self._find = find
        self._limit = limit

    def place(self, request: OrderRequest) -> OrderResponse:
        return OrderClient(self._replicas("order")).place(request)

    def toggle(self, gremlin: Gremlin) -> Activation | None:
        """Turn a gremlin on as `valerix chaos on` does, or off if active; others stay. Returns the new activation."""
        inventory = self._inventory()
        live = inventory.chaos().live
        request = toggled(live, gremlin)
        if request is not None:
            return inventory.activate(request)
        inventory.deactivate()
        return None

    def deactivate(self) -> Activation | None:
        return self._inventory().deactivate()

    def audit(self) -> Audit:
        return run_audit(find_sources(self._find()), None, SETTLE_LIMIT)

    def _inventory(self) -> InventoryClient:
        return InventoryClient(self._replicas("inventory"))

    def _replicas(self, service: str) -> Replicas:
        return Replicas(self._find(), service, limit=self._limit)


def is_live(gremlin: Gremlin, chaos: Chaos | None) -> bool:
    return chaos is not None and chaos.live is not None and _is_on(chaos.live, gremlin)


def toggled(live: Activation | None, gremlin: Gremlin) -> dict[str, Any] | None:
    """Return the request that adds `gremlin` to the active ones, or removes it; None if none would be left."""
    if live is None or not _is_on(live, gremlin):
        return merged(live, gremlin, rate=None, delay=None, ttl=None, seed=None, reason="valerix top")
    others = [one for one in Gremlin if one is not gremlin and _is_on(live, one)]
    if not others:
        return None
    ttl = max(1.0, math.ceil(live.remaining_seconds))
    kept = merged(live, others[0], rate=_rate(live, others[0]), delay=None, ttl=ttl, seed=None, reason=None)
    off: dict[str, Any] = (
        {"latency": False} if gremlin is Gremlin.LATENCY else {f"{gremlin.replace('-', '_')}_rate": 0.0}
    )
    return kept | off


def _is_on(live: Activation, gremlin: Gremlin) -> bool:
    return live.latency if gremlin is Gremlin.LATENCY else _rate(live, gremlin) > 0


def _rate(live: Activation, gremlin: Gremlin) -> float:
    return float(getattr(live, f"{gremlin.replace('-', '_')}_rate"))
