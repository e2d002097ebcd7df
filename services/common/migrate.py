"""The common part of each service's `migrate` command."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

import psycopg

from services.common.settings import PREFIX


def run(work: Callable[[str], Iterator[str]]) -> None:
    """Run `work` on the database of VALERIX_DATABASE_URL, and log each of its steps to stderr.

    Exits with 2 if the variable is not set, and with 3 if the database is unreachable. SIGTERM is handled, since the
    first process of a container ignores it by default; uncommitted work is rolled back.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    url = os.environ.get(f"{PREFIX}DATABASE_URL", "").strip()
    if not url:
        _print_line(f"{PREFIX}DATABASE_URL is not set")
        sys.exit(2)
    try:
        for done in work(url):
            _print_line(done)
    except psycopg.OperationalError as error:
        _print_line(f"the database cannot be reached: {error}")
        sys.exit(3)


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - a command, its talk belongs on stderr
