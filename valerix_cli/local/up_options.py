"""What the user asked `valerix up` for."""

from typing import Literal

import msgspec


class UpOptions(msgspec.Struct, frozen=True):
    """How many replicas of which kind (one where nothing is said), and whose PostgreSQL.

    `postgres` None means: the one that VALERIX_DATABASE_URL names, else the embedded one. With `free_ports` nobody
    listens on the ports that services like best, so that another platform may. With `monitoring` Prometheus and
    Alertmanager run too, and tell `alert_webhook`.
    """

    replicas: dict[str, int] = {}
    postgres: Literal["embedded", "system"] | None = None
    free_ports: bool = False
    monitoring: bool = False
    alert_webhook: str | None = None
