"""Memory of the processes of a platform."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

from tests.benchmarks.live import Live

_EVERY = 5.0  # seconds


def of(shop: Live) -> dict[str, float]:
    """Return the resident megabytes of each process, by name. Memory that PostgreSQL's processes share counts once."""
    found = {}
    for name, pid in shop.pids.items():
        with suppress(psutil.NoSuchProcess):  # it ended and is being restarted
            found[name] = round(_bytes(name, pid) / 1e6, 1)
    return found


@contextmanager
def watched(shop: Live) -> Iterator[tuple[list[float], dict[str, list[float]]]]:
    """Sample every five seconds during the block. Yields seconds since its start, and megabytes of each process."""
    times: list[float] = []
    seen: dict[str, list[float]] = {name: [] for name in shop.pids}
    over, began = Event(), time.monotonic()

    def look() -> None:
        while not over.is_set():
            if (found := of(shop)).keys() == seen.keys():
                times.append(round(time.monotonic() - began, 1))
                for name, megabytes in found.items():
                    seen[name].append(megabytes)
            over.wait(_EVERY)

    looking = Thread(target=look, daemon=True)
    looking.start()
    try:
        yield times, seen
    finally:
        over.set()
        looking.join()


def _bytes(name: str, pid: int) -> int:
    process = psutil.Process(pid)
    if name != "postgres":
        return int(process.memory_info().rss)
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a connection that ended meanwhile
            info = one.memory_full_info()
            total += getattr(info, "pss", info.rss)  # Linux divides shared memory among its users
    return total
