"""The parts that each service's Litestar application has in common."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from services.common import body, openapi, problems
from services.common.telemetry import metrics

VERSION = metadata.version("valerix")

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def build_app(
    title: str,
    handlers: Sequence[ControllerRouterHandler],
    lifespan: Sequence[Lifespan],
    state: dict[str, Any],
    **more: Any,
) -> Litestar:
    """A Litestar application that reports, refuses and fails as all our services do, but for what `more` says of it."""
    config = AppConfig()
    config.state.update(state)
    usual: dict[str, Any] = {"exception_handlers": problems.EXCEPTION_HANDLERS}
    return Litestar(
        route_handlers=[metrics, *handlers],
        lifespan=list(lifespan),
        request_max_body_size=body.LIMIT,
        openapi_config=OpenAPIConfig(title=title, version=VERSION, path="/schema", render_plugins=[openapi.Document()]),
        state=config.state,
        logging_config=None,
        **usual | more,
    )
