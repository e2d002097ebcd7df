"""The image as the tree is now, made once for a run, and containers of it for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.image import base
from tests.image.containers import Containers, containers


@pytest.fixture(scope="session")
def image() -> str:
    """The image's name. It is made when there is none of this very tree, and when VALERIX_IMAGE says `anew`."""
    if why := base.missing():
        pytest.skip(f"no containers here: {why}")
    if os.environ.get("VALERIX_IMAGE") == "anew" or not base.is_current():
        base.main([])
    return base.IMAGE


@pytest.fixture
def started(image: str, order_database: str, inventory_database: str, redis_url: str) -> Iterator[Containers]:  # noqa: ARG001 - it must be there
    """Starts services in containers that share this test's databases."""
    with containers(order_database, inventory_database, redis_url) as made:
        yield made
