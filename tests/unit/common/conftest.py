"""A separate log for each of these tests."""

import io
from collections.abc import Iterator

import pytest

from tests.unit.common.logs import recorded


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """The log of the services during the test."""
    with recorded() as kept:
        yield kept
