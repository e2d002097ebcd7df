"""`python -m tests.benchmarks.partitions` measures the cost of hash-partitioning the table of orders by key.

Two databases on one embedded server with the schema of the services are filled with the same number of orders. In one
of them the table is partitioned. pgbench inserts orders, and inserts and settles orders, in both databases in turn.
Prints the transactions per second of both and their ratio as JSON. Takes about three minutes.

"By id" is how the services settle: an order id does not determine the partition, so the index of every partition is
searched. "By id and key" is how they would have to settle.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import sql

from services.common.postgres import migrate
from tests.benchmarks import bounds
from valerix_cli.local.servers import PostgresServer, running

BY_ID = bounds.ACCEPT + bounds.SETTLE
SCRIPTS = {
    "insert": bounds.ORDER_ROW,
    "insert, settle by id": BY_ID,
    "insert, settle by id and key": BY_ID.replace("order_id = :id;", "order_id = :id AND idempotency_key = :id::text;"),
}
FILL: LiteralString = """
INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
SELECT gen_random_uuid(), 'item-' || i %% 1000, 1, 'confirmed', gen_random_uuid(), sha256('hot'), 1, 1
FROM generate_series(1, %s) AS i
"""


def partition(conn: psycopg.Connection[Any], partitions: int) -> None:
    """Partition the existing `orders` by a hash of idempotency_key, which every unique constraint then has to include.

    A key still has one row, since it has one partition. An order id has one row because it is derived from the key.
    """
    with conn.transaction():
        conn.execute("ALTER TABLE orders RENAME TO orders_whole")
        conn.execute(
            """CREATE TABLE orders (LIKE orders_whole INCLUDING ALL EXCLUDING INDEXES)
               PARTITION BY HASH (idempotency_key)"""
        )
        for number in range(partitions):
            conn.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF orders FOR VALUES WITH (MODULUS {}, REMAINDER {})").format(
                    sql.Identifier(f"orders_{number}"), sql.Literal(partitions), sql.Literal(number)
                )
            )
        conn.execute("INSERT INTO orders OVERRIDING SYSTEM VALUE SELECT * FROM orders_whole")
        conn.execute("DROP TABLE orders_whole")
        conn.execute("ALTER TABLE orders ADD UNIQUE (idempotency_key), ADD PRIMARY KEY (id, idempotency_key)")
        conn.execute("CREATE UNIQUE INDEX ON orders (order_id, idempotency_key)")
        conn.execute("CREATE INDEX ON orders (status, id)")
        conn.execute("CREATE INDEX ON orders (next_attempt_at) WHERE status IN ('pending', 'queued')")
        conn.execute(
            "SELECT setval(pg_get_serial_sequence('orders', 'id'), coalesce(max(id), 0) + 1, false) FROM orders"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.partitions", description=__doc__)
    parser.add_argument("--orders", type=int, default=500_000, help="stored before (%(default)s)")
    parser.add_argument("--partitions", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run (%(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="valerix-") as made:
        (directory := Path(made)).chmod(0o755)  # the server runs as another user when we are root
        with running(PostgresServer.at(directory, password="only-for-this-run")) as server:
            pair = [_filled(server, name, asked.orders, asked.partitions) for name in ("whole", "partitioned")]
            found = {
                what: _summary([[_rate(url, script, asked.seconds) for url in pair] for _ in range(asked.rounds)])
                for what, script in SCRIPTS.items()
            }
    print(msgspec.json.format(msgspec.json.encode(found)).decode())  # noqa: T201 - the result


def _filled(server: PostgresServer, name: str, orders: int, partitions: int) -> str:
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.url(name)
    migrate(url, "services.order")
    with psycopg.connect(url, autocommit=True) as conn:
        if name == "partitioned":
            partition(conn, partitions)
        conn.execute(FILL, [orders])
        conn.execute("VACUUM ANALYZE orders")
    return url


def _rate(url: str, script: str, seconds: float) -> float:
    return bounds.run(url, script, bounds.CLIENTS, seconds).per_second


def _summary(rounds: list[list[float]]) -> dict[str, float]:
    """Summarize the (unpartitioned, partitioned) transactions per second of each round."""
    ratios = sorted(partitioned / whole for whole, partitioned in rounds)
    whole, partitioned = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "whole a second": round(whole),
        "partitioned a second": round(partitioned),
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(ratios[0], 3),
        "highest": round(ratios[-1], 3),
    }


if __name__ == "__main__":
    main()
