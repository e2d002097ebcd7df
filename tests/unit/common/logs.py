"""The log of a test, in memory."""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import structlog

from services.common import logging as our_logging


@contextlib.contextmanager
def recorded(level: str = "info") -> Iterator[io.StringIO]:
    """Redirect the log to the yielded buffer, and restore logging afterwards."""
    root = logging.getLogger()
    before, structured = (root.handlers, root.level, sys.stderr), structlog.get_config()
    sys.stderr = io.StringIO()
    try:
        our_logging.configure("order", "order-1", level)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # requests of the tests would be logged too
        yield sys.stderr
    finally:
        structlog.configure(**structured)
        root.handlers, level_before, sys.stderr = before
        root.setLevel(level_before)


def events(log: io.StringIO) -> list[dict[str, Any]]:
    """Return the logged events; fails if a line, by any line separator, is not one JSON object."""
    text = log.getvalue()
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert text.splitlines() == lines
    return [json.loads(line) for line in lines]
