"""Closed-loop load by wrk, https://github.com/wg/wrk, with the script orders.lua."""

import os
import subprocess
from pathlib import Path

import msgspec

from tests.benchmarks.closed import Closed
from tests.benchmarks.errors import Broken
from tests.benchmarks.live import Live
from tests.benchmarks.results import Sample

_SCRIPT = Path(__file__).with_name("orders.lua")
_PATIENCE = 15  # seconds to wait for a response before wrk counts the request as unanswered


class WrkResult(msgspec.Struct, frozen=True):
    """The line printed by orders.lua; times are in microseconds."""

    requests: int
    micros: int
    p50: int
    p95: int
    p99: int
    statuses: dict[str, int]
    replayed: int
    unanswered: int


def closed(shop: Live, load: Closed) -> Sample:
    """Run wrk with one thread per order replica; clients are divided among them."""
    urls = shop.order_urls
    much = ["-t", str(min(len(urls), load.clients)), "-c", str(load.clients), "-d", f"{max(1, round(load.seconds))}s"]
    done = subprocess.run(
        ["wrk", *much, "--timeout", f"{_PATIENCE}s", "-s", str(_SCRIPT), urls[0]],  # noqa: S607 - as on PATH
        env=os.environ
        | {
            "ORDERS_URLS": " ".join(urls),
            "ORDERS_TOKEN": shop.secrets.operator_token,
            "ORDERS_PREFIX": load.prefix,
            "ORDERS_ITEMS": str(load.items),
            "ORDERS_SEED": str(load.seed),
            "ORDERS_KNOWN": str(load.known),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Broken("wrk failed.", (done.stderr + done.stdout).strip()[-300:], "--driver load")
    return parse(done.stdout)


def parse(output: str) -> Sample:
    """Parse the last line printed by orders.lua. Raises Broken if no order got a response."""
    lines = output.strip().splitlines()
    try:
        found = msgspec.json.decode(lines[-1] if lines else "", type=WrkResult)
    except msgspec.DecodeError as error:
        raise Broken("wrk gave no figures.", output.strip()[-300:] or "it said nothing", "--driver load") from error
    if not found.requests:
        raise Broken("No order was answered.", f"{found.unanswered} requests got no answer", "valerix status")
    return Sample(
        per_second=round(found.requests / found.micros * 1e6, 1),
        p50=round(found.p50 / 1e3, 2),
        p95=round(found.p95 / 1e3, 2),
        p99=round(found.p99 / 1e3, 2),
        statuses=dict(sorted(found.statuses.items())),
        unanswered=found.unanswered,
        replayed=found.replayed,
    )
