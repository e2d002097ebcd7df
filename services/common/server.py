"""Serves one application from one process: uvicorn in our event loop.

On SIGTERM or SIGINT it stops accepting, finishes requests in flight, lets the application flush and close,
and exits; after `SHUTDOWN_TIMEOUT` seconds it exits in any case.
"""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog
import uvicorn
import uvloop

from services.common import connection_limits, logging, tracing
from services.common.background import background_tasks, report
from services.common.connection_limits import ClientConnections
from services.common.http_protocol import HttpProtocol
from services.common.middleware import RequestMiddleware
from services.common.settings import ServerSettings, SettingsError, read

log = structlog.get_logger()

SHUTDOWN_TIMEOUT = 15.0  # seconds
BACKLOG = 1024  # connections waiting to be accepted
GC_GEN0_THRESHOLD = 50_000  # Python's default is 700
S = TypeVar("S", bound=ServerSettings)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: RequestMiddleware, listening: socket.socket, max_connections: int) -> None:
    """Serve `app` until a stop signal, on at most `max_connections` connections."""
    host, port = listening.getsockname()[:2]
    clients = ClientConnections(connection_limits.allowed(max_connections))
    config = uvicorn.Config(
        app,
        http=functools.partial(HttpProtocol, clients),  # type: ignore[arg-type]  # makes one, as the class does
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # services.common.rate_limit decides which of them to trust
        backlog=BACKLOG,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)

    def stop() -> None:
        log.info("stopping")
        loop.call_later(SHUTDOWN_TIMEOUT, _force_exit)
        app.at_stop()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _tune_gc()
    log.info("serving", host=host, port=port, pid=os.getpid())
    async with background_tasks(clients.watch()):
        await server.serve(sockets=[listening])
    log.info("stopped")


def _tune_gc() -> None:
    """Freeze startup objects and raise the gen-0 GC threshold.

    GC took a fifth of the order service's CPU time under load and found almost nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_GEN0_THRESHOLD, *gc.get_threshold()[1:])


def _force_exit() -> None:
    log.error("did not finish in time, ending all the same", seconds=SHUTDOWN_TIMEOUT)
    os._exit(1)


def run(service: str, settings_type: type[S], build: Callable[[S], RequestMiddleware]) -> None:
    """Run a service: settings, logging, application, server.

    Invalid settings exit with 2, a port in use with 3.
    """
    logging.configure(service, os.environ.get("VALERIX_REPLICA") or service, "info")  # for settings' errors
    try:
        settings = read(settings_type, os.environ)
        tracing.configure(service, settings.replica, os.environ)
        app = build(settings)
    except SettingsError as error:
        log.error("settings refused", why=str(error))  # noqa: TRY400 - a message without a traceback is enough
        sys.exit(2)
    logging.configure(service, settings.replica, settings.log_level)
    try:
        listening = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    except OSError as error:
        log.error("cannot listen", host=settings.host, port=settings.port, why=str(error))  # noqa: TRY400 - as above
        sys.exit(3)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited: no wait for an ack
    listening.setblocking(False)  # noqa: FBT003 - it has no keyword
    uvloop.run(serve(app, listening, settings.max_connections))
    tracing.close()
