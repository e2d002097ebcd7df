"""The availability script works, and its figures are plausible where a guarantee limits them."""

import subprocess
import sys

import pytest

GAP = 5.0  # seconds in which dead connections are replaced


@pytest.mark.long
@pytest.mark.timed
def test_orders_are_accepted_again_soon_while_old_connections_are_dead() -> None:
    command = [sys.executable, "-m", "tests.faults.availability", "--seconds", "8", "--only", "old connections dead"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in _table(done.stdout)]
    assert len(rows) == 4, done.stdout
    for row in rows:
        assert float(row[4].removesuffix(" s")) < GAP, row


def _table(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")][2:]
