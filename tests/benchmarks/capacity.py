"""`python -m tests.benchmarks.capacity` measures how many orders per second `valerix load` can send from one core.

The receiver is a server that does nothing, on a separate core if there is one. Above this rate the load generator
itself is the bottleneck.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from tests.benchmarks.errors import Broken
from tests.benchmarks.live import VALERIX
from tests.benchmarks.results import Capacity
from valerix_cli.load import LoadResult
from valerix_cli.local.ports import free_port

CLIENTS = 64
_STARTS_WITHIN = 15.0  # seconds


def measure(seconds: float) -> Capacity:
    """Send load from 64 clients for `seconds`. Raises Broken."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with (
        _on(cores[-1:]),
        _nothing() as url,
        tempfile.TemporaryDirectory(prefix="valerix-capacity-") as place,
        _on(cores[:1]),
    ):
        config = Path(place) / "config.toml"
        config.write_text(f'context = "nothing"\n[contexts.nothing]\norder = ["{url}"]\ninventory = ["{url}"]\n')
        how = ["load", "--clients", str(CLIENTS), "--item", "hot", "--for", f"{seconds:g}s"]
        others = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        others["VALERIX_CONFIG"] = str(config)
        done = subprocess.run(
            [str(VALERIX), *how, "-o", "json", "-q", "--yes"],
            cwd=place,
            env=others,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise Broken("`valerix load` failed.", done.stderr.strip()[-300:], "valerix load --help")
    found = msgspec.convert(json.loads(done.stdout), LoadResult)
    return Capacity(found.throughput, found.cpu)


@contextmanager
def _on(cores: list[int]) -> Iterator[None]:
    """Run processes that are started in the block on these cores, if the system supports CPU affinity."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _nothing() -> Iterator[str]:
    """Yield the URL of the server that does nothing, once it responds."""
    port = free_port()
    options = ["--lifespan", "off", "--port", str(port), "--no-access-log", "--log-level", "error"]
    with subprocess.Popen([sys.executable, "-m", "uvicorn", *options, "tests.benchmarks.null_server:app"]) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise Broken("The server that does nothing is unreachable.", repr(error), "run it again") from error
            time.sleep(0.1)
        else:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.capacity", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    found = measure(parser.parse_args(arguments).seconds)
    print(msgspec.json.encode(found).decode())  # noqa: T201 - it is a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
