"""Settings of the order service and its worker."""

from typing import Annotated

import msgspec

from services.common.settings import BaseUrl, Seconds, ServiceSettings

Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]


class OrderSettings(ServiceSettings, frozen=True, kw_only=True):
    """`lease_seconds` is `VALERIX_LEASE_SECONDS`, and so on. Its maximum is the domain's MAX_LEASE."""

    inventory_url: Annotated[tuple[BaseUrl, ...], msgspec.Meta(min_length=1)]
    inventory_timeout_seconds: Seconds = 3.0
    lease_seconds: Annotated[float, msgspec.Meta(gt=0, le=900)] = 10.0
    backlog_cap: Annotated[int, msgspec.Meta(ge=1)] = 50_000
    max_attempts: Annotated[int, msgspec.Meta(ge=1)] = 10
    breaker_window_seconds: Seconds = 10.0
    breaker_minimum_calls: Annotated[int, msgspec.Meta(ge=1)] = 5
    breaker_threshold_percent: Percent = 50
    breaker_open_seconds: Seconds = 10.0
