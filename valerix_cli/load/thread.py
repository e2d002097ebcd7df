"""A load in a thread of its own, while the main thread looks on."""

import asyncio
import threading
from concurrent.futures import Future

from valerix_cli.load.model import LoadResult
from valerix_cli.load.run import Load


def beside(load: Load) -> Future[LoadResult]:
    """Run a load in a thread of its own, which ends with the process."""
    result: Future[LoadResult] = Future()

    def work() -> None:
        try:
            result.set_result(_run(load))
        except BaseException as error:  # noqa: BLE001 - whoever waits for the result gets it
            result.set_exception(error)

    threading.Thread(target=work, name="load", daemon=True).start()
    return result


def _run(load: Load) -> LoadResult:
    try:
        import uvloop  # noqa: PLC0415 - not everywhere, and it costs less per order where it is
    except ImportError:
        return asyncio.run(load.run())
    return uvloop.run(load.run())
