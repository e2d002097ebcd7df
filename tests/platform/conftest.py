"""One installation for the whole run, started again by whichever test finds it stopped."""

from collections.abc import Iterator

import pytest

from tests.platform.installation import Installation, installed


@pytest.fixture(scope="session")
def _installation() -> Iterator[Installation]:
    with installed() as installation:
        yield installation


@pytest.fixture
def platform(_installation: Installation) -> Installation:
    """Everything runs; what earlier tests stored is there as well."""
    if not _installation.processes:
        _installation.up()
    return _installation


@pytest.fixture
def stopped(_installation: Installation) -> Installation:
    """Nothing runs."""
    if _installation.processes:
        _installation.run("down")
    return _installation
