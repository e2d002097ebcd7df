"""Settings of the dashboard."""

from typing import Annotated

import msgspec

from services.common.settings import BaseUrl, Seconds, ServerSettings, Token

Urls = Annotated[tuple[BaseUrl, ...], msgspec.Meta(min_length=1)]


class FrontendSettings(ServerSettings, frozen=True, kw_only=True):
    """`order_url` is `VALERIX_ORDER_URL`: the base URLs of the replicas, separated by commas, and so on.

    `operator_token` authenticates the dashboard at the services; browsers never see it. `dashboard_password` is for
    operators. `audit_command` prints an audit as JSON; without it the dashboard cannot audit. With
    `audit_interval_seconds`, audits run on a schedule. Replicas share revoked sessions by `redis_url`; without it, a
    restart ends every session.
    """

    order_url: Urls
    inventory_url: Urls
    worker_url: tuple[BaseUrl, ...] = ()
    operator_token: Token
    dashboard_password: Token
    audit_command: str | None = None
    audit_interval_seconds: Seconds | None = None
    refresh_interval_seconds: Seconds = 1.0
    secure_cookies: bool = False
    trusted_hops: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    rate_limit_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 3000
    redis_url: str | None = None
