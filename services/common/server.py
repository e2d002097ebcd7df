"""Serve one application from one process: granian inside our own event loop.

On SIGTERM or SIGINT it stops accepting, finishes what is in flight, lets the application flush and close,
and ends; at most `GRACE` seconds later it ends in any case.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from litestar.types import ASGIApp

from services.common import logging
from services.common.settings import ServiceSettings, SettingsError, read

log = structlog.get_logger()

GRACE = 15.0  # seconds
S = TypeVar("S", bound=ServiceSettings)


async def serve(app: ASGIApp, settings: ServiceSettings) -> None:
    """Serve `app` until a signal asks to stop."""
    server = Server(
        app,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        backpressure=4096,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        log.info("stopping")
        loop.call_later(GRACE, _give_up)
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("serving", host=settings.host, port=settings.port, pid=os.getpid())
    await server.serve()
    log.info("stopped")


def _give_up() -> None:
    log.error("did not finish in time, ending all the same", seconds=GRACE)
    os._exit(1)


def run(service: str, settings_type: type[S], build: Callable[[S], ASGIApp]) -> None:
    """The whole of a service's `main`: settings, logging, application, server. Bad settings end with exit 2."""
    logging.configure(service, os.environ.get("VALERIX_REPLICA", service), os.environ.get("VALERIX_LOG_LEVEL", "info"))
    try:
        settings = read(settings_type, os.environ)
        app = build(settings)
    except SettingsError as error:
        log.error("settings refused", why=str(error))  # noqa: TRY400 - the message says it all, a traceback would not
        sys.exit(2)
    uvloop.run(serve(app, settings))
