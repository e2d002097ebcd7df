"""Options of `valerix up`."""

from typing import Literal

import msgspec


class UpOptions(msgspec.Struct, frozen=True):
    """The number of replicas by kind (default one), and which PostgreSQL to use.

    `postgres` None means VALERIX_DATABASE_URL if it is set, else the embedded one. With `free_ports` no service uses
    its default port, so that another platform may. With `monitoring` Prometheus and Alertmanager run too, and alerts
    are sent to `alert_webhook`.
    """

    replicas: dict[str, int] = {}
    postgres: Literal["embedded", "system"] | None = None
    free_ports: bool = False
    monitoring: bool = False
    alert_webhook: str | None = None
