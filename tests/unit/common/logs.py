"""The log of a test, kept in memory."""

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
    """Send the log into what is yielded, and leave logging as it was."""
    root = logging.getLogger()
    before, structured = (root.handlers, root.level, sys.stderr), structlog.get_config()
    sys.stderr = io.StringIO()
    try:
        our_logging.configure("order", "order-1", level)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it is the tests that ask, and would be heard as well
        yield sys.stderr
    finally:
        structlog.configure(**structured)
        root.handlers, level_before, sys.stderr = before
        root.setLevel(level_before)


def events(log: io.StringIO) -> list[dict[str, Any]]:
    """What was logged; fails where a line of it is not one JSON object, however lines are told apart."""
    text = log.getvalue()
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert text.splitlines() == lines
    return [json.loads(line) for line in lines]
