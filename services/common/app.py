"""The common parts of each service's Litestar application."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from services.common import openapi, problems, request_body
from services.common.metrics import get_metrics

VERSION = metadata.version("valerix")

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def build_app(
    title: str,
    handlers: Sequence[ControllerRouterHandler],
    lifespan: Sequence[Lifespan],
    state: dict[str, Any],
    **more: Any,
) -> Litestar:
    """Build a Litestar app with the shared error handling and metrics; `more` overrides Litestar arguments."""
    config = AppConfig()
    config.state.update(state)
    usual: dict[str, Any] = {"exception_handlers": problems.EXCEPTION_HANDLERS}
    return Litestar(
        route_handlers=[get_metrics, *handlers],
        lifespan=list(lifespan),
        request_max_body_size=request_body.MAX_BYTES,
        openapi_config=OpenAPIConfig(title=title, version=VERSION, path="/schema", render_plugins=[openapi.Document()]),
        state=config.state,
        logging_config=None,
        **usual | more,
    )
