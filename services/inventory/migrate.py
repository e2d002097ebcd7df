"""`python -m services.inventory.migrate [--seed]`: bring inventory_db to the schema this code expects.

With --seed, items of the catalogue that are missing are added; what is there is left alone.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial

from services.common.connections import BlockingConnection
from services.common.migrate import run
from services.common.postgres import migrate
from services.inventory import store
from services.inventory.catalogue import CATALOGUE


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.inventory.migrate")
    parser.add_argument("--seed", action="store_true", help="add the catalogue's items that are missing")
    run(partial(work, with_items=parser.parse_args(arguments).seed))


def work(url: str, *, with_items: bool) -> Iterator[str]:
    for name in migrate(url, "services.inventory"):
        yield f"applied {name}"
    for item_id in seed(url) if with_items else []:
        yield f"added {item_id}"


def seed(url: str) -> list[str]:
    """Add the items of the catalogue that are missing and return their ids."""
    with BlockingConnection.connect(url, connect_timeout=5) as conn:
        return store.seed(conn, CATALOGUE)


if __name__ == "__main__":
    main(sys.argv[1:])
