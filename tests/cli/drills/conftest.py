"""A platform that drills may break."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from services.inventory.drill_lease import LEASE_KEY
from tests.cli.conftest import Valerix
from tests.processes import open_directory
from valerix_cli.local.stack import cache_url, read_secrets, read_stack


@pytest.fixture(scope="package")
def own() -> Iterator[Valerix]:
    """A platform that drills may break, with short open periods of the breaker."""
    with _platform() as found:
        yield found


@pytest.fixture
def doomed() -> Iterator[Valerix]:
    """A platform whose databases one test may damage."""
    with _platform() as found:
        yield found


@contextmanager
def _platform() -> Iterator[Valerix]:
    with open_directory("drills") as directory:
        valerix = Valerix(directory)
        (directory / "tmp").mkdir()
        valerix.environ |= {"VALERIX_RECEIPTS_DIR": str(directory / "receipts"), "TMPDIR": str(directory / "tmp")}
        valerix("up", "--detach")
        try:
            yield valerix
        finally:
            valerix("down")


@pytest.fixture
def store(own: Valerix) -> Iterator[redis.Redis]:
    """Client of the platform's Redis."""
    stack, secrets = read_stack(own.directory / "state"), read_secrets(own.directory / "state")
    assert stack is not None
    assert secrets is not None
    url = cache_url(stack, secrets, {})
    assert url is not None
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture(autouse=True)
def _freed(store: redis.Redis) -> Iterator[None]:
    """Releases the drill lease after each test."""
    yield
    store.delete(LEASE_KEY)
