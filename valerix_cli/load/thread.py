"""Runs a load in a background thread."""

import asyncio
import threading
from concurrent.futures import Future

from valerix_cli.load.generator import LoadGenerator
from valerix_cli.load.model import LoadResult


def run_in_thread(load: LoadGenerator) -> Future[LoadResult]:
    """Start a load in a daemon thread and return the future of its result."""
    result: Future[LoadResult] = Future()

    def work() -> None:
        try:
            result.set_result(_run(load))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            result.set_exception(error)

    threading.Thread(target=work, name="load", daemon=True).start()
    return result


def _run(load: LoadGenerator) -> LoadResult:
    try:
        import uvloop  # noqa: PLC0415 - not on all platforms; it costs less CPU per order
    except ImportError:
        return asyncio.run(load.run())
    return uvloop.run(load.run())
