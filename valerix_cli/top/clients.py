"""The clients of the current context: a platform may have other addresses after a restart."""

from dataclasses import dataclass, replace

from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.contexts.model import Context


@dataclass(frozen=True)
class PlatformClients:
    """The clients of both services, and of each replica by its address."""

    context: Context
    orders: OrderClient
    inventory: InventoryClient
    order_replicas: dict[str, Replicas]
    all_replicas: dict[str, Replicas]


def reach(context: Context, limit: float | None = None) -> PlatformClients:
    """Return clients with a timeout of `limit` seconds."""
    alone = {service: _alone(context, service, limit) for service in context.services}
    return PlatformClients(
        context,
        OrderClient(Replicas(context, "order", limit=limit)),
        InventoryClient(Replicas(context, "inventory", limit=limit)),
        alone.get("order", {}),
        {url: replica for replicas in alone.values() for url, replica in replicas.items()},
    )


def _alone(context: Context, service: str, limit: float | None) -> dict[str, Replicas]:
    return {
        url: Replicas(replace(context, services={service: (url,)}), service, limit=limit)
        for url in context.services[service]
    }
