"""Each of these tests has a log of its own."""

import io
from collections.abc import Iterator

import pytest

from tests.unit.common.logs import recorded


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """What the service logs during the test."""
    with recorded() as kept:
        yield kept
