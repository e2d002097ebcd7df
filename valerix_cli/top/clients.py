"""The clients of one context as it is now: a platform that was started again may have other addresses."""

from dataclasses import dataclass, replace

from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.contexts.model import Context


@dataclass(frozen=True)
class PlatformClients:
    """Both services, each behind its replicas, and each replica alone, by its address."""

    context: Context
    orders: OrderClient
    inventory: InventoryClient
    order_replicas: dict[str, Replicas]
    all_replicas: dict[str, Replicas]


def reach(context: Context, limit: float | None = None) -> PlatformClients:
    """Clients that wait `limit` seconds for an answer."""
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
