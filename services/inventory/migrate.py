"""`python -m services.inventory.migrate [--seed]`: bring inventory_db to the schema this code expects.

With --seed, items of the catalogue that are missing are added; what is there is left alone.
"""

import argparse
import os
import sys

import psycopg

from services.common.postgres import migrate
from services.inventory import store
from services.inventory.catalogue import CATALOGUE


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.inventory.migrate")
    parser.add_argument("--seed", action="store_true", help="add the catalogue's items that are missing")
    wanted = parser.parse_args(arguments)
    url = os.environ["VALERIX_DATABASE_URL"]
    for name in migrate(url, "services.inventory"):
        _say(f"applied {name}")
    for item_id in seed(url) if wanted.seed else []:
        _say(f"added {item_id}")


def seed(url: str) -> list[str]:
    """Add the items of the catalogue that are missing and return their ids."""
    with psycopg.connect(url, connect_timeout=5) as conn:
        return store.seed(conn, CATALOGUE)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - a command, its talk belongs on stderr


if __name__ == "__main__":
    main(sys.argv[1:])
