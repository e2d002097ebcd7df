"""The image of the current tree, built once per run, and containers of it for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.image import base
from tests.image.containers import Containers, containers


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the image. It is built if there is none of the current tree, or if VALERIX_IMAGE is `anew`."""
    if why := base.missing():
        pytest.skip(f"no containers here: {why}")
    if os.environ.get("VALERIX_IMAGE") == "anew" or not base.is_current():
        base.main([])
    return base.IMAGE


@pytest.fixture
def started(image: str, order_database: str, inventory_database: str, redis_url: str) -> Iterator[Containers]:  # noqa: ARG001 - a required fixture
    """Starts services in containers that share this test's databases."""
    with containers(order_database, inventory_database, redis_url) as made:
        yield made
