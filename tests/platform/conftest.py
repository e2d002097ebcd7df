"""One installation for the whole folder, restarted by any test that finds it stopped, and state directories."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.platform.bystanders import INNOCENT, Innocent, Typed, process_of
from tests.platform.installation import PATIENCE, Installation, installed
from tests.processes import eventually, open_directory
from valerix_cli.local.stack import ensure_secrets
from valerix_cli.local.state_directory import prepare


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


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with secrets, without a running platform."""
    with open_directory("trust") as parent:
        prepare(parent / "state")
        ensure_secrets(parent / "state")
        yield parent / "state"


@pytest.fixture
def typed(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs commands in this process on `state`."""
    monkeypatch.setenv("VALERIX_RECEIPTS_DIR", str(state.parent / "receipts"))
    return Typed(state, monkeypatch, capsys)


@pytest.fixture
def innocent(tmp_path: Path) -> Iterator[Innocent]:
    """A process unrelated to any platform; the test fails if it is signalled."""
    record = tmp_path / "signals"
    with process_of(INNOCENT, str(record)) as process:
        found = Innocent(process, record)
        yield found
        assert found.is_unharmed()
