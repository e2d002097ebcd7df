"""One installation for the whole folder, started again by whichever test finds it stopped."""

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
    """Everything runs; what earlier tests stored is there as well."""
    with suppress(AssertionError):  # what a test has left as it fails, or has ended, may be on its way back
        eventually(lambda: _installation.is_whole or not _installation.processes, PATIENCE)
    if not _installation.is_whole:
        _installation.kill_everything()
        _installation.up()
    return _installation


@pytest.fixture
def stopped(_installation: Installation) -> Installation:
    """Nothing runs."""
    if _installation.processes:
        _installation.run("down")
    return _installation
