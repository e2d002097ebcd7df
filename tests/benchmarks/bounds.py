"""The one-by-one bound: PostgreSQL's throughput with one transaction per order, measured with its own pgbench.

Measured on the server of the benchmarked platform, in a scratch database with the tables of the services.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.benchmarks.errors import Broken
from tests.benchmarks.live import Live
from tests.benchmarks.results import Bound
from valerix_cli.local.binaries import embedded_postgres

CLIENTS = 16
SCRATCH = "one_by_one"

ORDER_ROW: LiteralString = """\
INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
VALUES (gen_random_uuid(), 'hot', 1, 'pending', gen_random_uuid()::text, sha256('hot'), 1, 1);
"""
STOCK_ROW: LiteralString = """\
BEGIN;
UPDATE inventory SET quantity = quantity - 1, updated_at = now() WHERE item_id = 'hot';
INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
VALUES ('hot', gen_random_uuid(), -1, 'deduct');
COMMIT;
"""
ACCEPT: LiteralString = """\
SELECT gen_random_uuid() AS id \\gset
BEGIN;
INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
VALUES (:id, 'hot', 1, 'pending', :id, sha256('hot'), 1, 1);
INSERT INTO order_events (order_id, "from", "to", detail) VALUES (:id, NULL, 'pending', '{"by": "order-1"}');
COMMIT;
"""
SETTLE: LiteralString = """\
BEGIN;
UPDATE orders SET status = 'confirmed', updated_at = now() WHERE order_id = :id;
INSERT INTO order_events (order_id, "from", "to", detail) VALUES (:id, 'pending', 'confirmed', '{"by": "order-1"}');
COMMIT;
"""
ALONE = ACCEPT + STOCK_ROW + SETTLE
SCRIPTS = {"order row": ORDER_ROW, "hot stock row": STOCK_ROW, "three commits of one order": ALONE}


@dataclass(frozen=True)
class Done:
    """Result of pgbench: transactions per second, and the mean duration of a transaction in milliseconds."""

    per_second: float
    milliseconds: float


def measure(shop: Live, seconds: float) -> Bound:
    """Run each script for `seconds`, at least one second."""
    with _scratch(shop) as url:
        rows = run(url, ORDER_ROW, CLIENTS, seconds)
        stock = run(url, STOCK_ROW, CLIENTS, seconds)
        alone = run(url, ALONE, 1, seconds)
    return Bound(round(rows.per_second, 1), round(stock.per_second, 1), round(alone.milliseconds, 3))


def parse(output: str) -> Done:
    """Parse pgbench's report. Raises Broken if a transaction failed or a figure is missing."""
    rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", output, re.MULTILINE)
    if rate is None or latency is None or (failed is not None and int(failed[1])):
        raise Broken("pgbench gave no figure to go by.", output.strip()[-300:] or "it said nothing", "run it again")
    return Done(float(rate[1]), float(latency[1]))


def run(url: str, script: str, clients: int, seconds: float) -> Done:
    """Run a script with pgbench, with prepared statements as in the services. Raises Broken."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        pgbench = str(embedded_postgres(None, Path()) / "pgbench")
        much = ["-c", str(clients), "-T", str(max(1, round(seconds)))]
        done = subprocess.run(
            [pgbench, "-n", "-M", "prepared", *much, "-f", file.name, url],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    if done.returncode:
        raise Broken("pgbench failed.", done.stderr.strip()[-300:], "look at the log of postgres")
    return parse(done.stdout)


@contextmanager
def _scratch(shop: Live) -> Iterator[str]:
    """Yield the URL of a new database with the tables of both services and one item; drop it afterwards."""
    with psycopg.connect(shop.url("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE)".encode())
        admin.execute(f"CREATE DATABASE {SCRATCH}".encode())
        try:
            url = shop.url(SCRATCH)
            with psycopg.connect(url, autocommit=True) as conn:
                for service in ("order", "inventory"):
                    folder = resources.files(f"services.{service}") / "schema"
                    for file in sorted(folder.iterdir(), key=lambda one: one.name):
                        conn.execute(file.read_bytes())
                conn.execute("INSERT INTO inventory (item_id, item_name, quantity) VALUES ('hot', '', 1000000000)")
            yield url
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE)".encode())
