"""`python -m services.inventory.migrate [--seed]`: migrate inventory_db to the schema of this version.

With --seed, missing items are added; existing items are not changed.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial

from services.common.connections import BlockingConnection
from services.common.migrate import run
from services.common.postgres import migrate
from services.inventory import store
from services.inventory.seed_data import SEED_ITEMS


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.inventory.migrate")
    parser.add_argument("--seed", action="store_true", help="add missing items of the seed data")
    run(partial(work, with_items=parser.parse_args(arguments).seed))


def work(url: str, *, with_items: bool) -> Iterator[str]:
    for name in migrate(url, "services.inventory"):
        yield f"applied {name}"
    for item_id in seed(url) if with_items else []:
        yield f"added {item_id}"


def seed(url: str) -> list[str]:
    """Add missing items of the seed data and return their ids."""
    with BlockingConnection.connect(url, connect_timeout=5) as conn:
        return store.seed(conn, SEED_ITEMS)


if __name__ == "__main__":
    main(sys.argv[1:])
