"""The context of a command: the addresses of a platform's services, and credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from valerix_cli.config import LOCAL


class ForwardedPorts(Protocol):
    """The ports through which a context reaches pods: `valerix_cli.cluster.forward.Forwards`."""

    @property
    def api(self) -> Any: ...

    @property
    def namespace(self) -> str: ...


@dataclass(frozen=True)
class Context:
    """The base URLs of each service's replicas, and the operator's token if there is one."""

    name: str
    services: Mapping[str, tuple[str, ...]]
    operator_token: str | None
    token_origin: str
    origin: str
    service_token: str | None = None
    order_database: str | None = None
    inventory_database: str | None = None
    redis: str | None = None

    forwards: ForwardedPorts | None = None
    """The cluster and namespace of its services, if they are pods."""

    @property
    def place(self) -> str:
        """Its location for messages: a cluster, or the addresses of the order service."""
        return str(self.forwards or ", ".join(self.services["order"]))

    @property
    def is_local(self) -> bool:
        return self.name == LOCAL
