"""One installation for the whole folder, restarted by any test that finds it stopped."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.platform.installation import PATIENCE, Installation, installed
from tests.processes import eventually


@pytest.fixture(scope="package")
def _installation() -> Iterator[Installation]:
    with installed() as installation:
        yield installation


@pytest.fixture
def platform(_installation: Installation) -> Installation:
    """The running platform, with the data of earlier tests."""
    with suppress(AssertionError):  # a failed test may have left a process that is restarting
        eventually(lambda: _installation.is_whole or not _installation.processes, PATIENCE)
    if not _installation.is_whole:
        _installation.kill_everything()
        _installation.up()
    return _installation


@pytest.fixture
def stopped(_installation: Installation) -> Installation:
    """The installation, stopped."""
    if _installation.processes:
        _installation.run("down")
    return _installation
