"""What the dashboard is told."""

from typing import Annotated

import msgspec

from services.common.settings import BaseUrl, Seconds, ServerSettings, Token

Urls = Annotated[tuple[BaseUrl, ...], msgspec.Meta(min_length=1)]


class FrontendSettings(ServerSettings, frozen=True, kw_only=True):
    """`order_url` is `VALERIX_ORDER_URL`: the base URLs of the replicas, separated by commas, and so on.

    `operator_token` is what the dashboard shows the services; it stays here. `dashboard_password` is what an operator
    shows the dashboard. `audit_command` prints an audit as JSON; without one the dashboard has none. With
    `audit_every_seconds` it audits by itself. By `redis_url` replicas tell each other who signed out; without it, a
    restart ends every session.
    """

    order_url: Urls
    inventory_url: Urls
    worker_url: tuple[BaseUrl, ...] = ()
    operator_token: Token
    dashboard_password: Token
    audit_command: str | None = None
    audit_every_seconds: Seconds | None = None
    look_every_seconds: Seconds = 1.0
    secure_cookies: bool = False
    trusted_hops: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    rate_limit_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 3000
    redis_url: str | None = None
