"""Standard streams that are closed or full: commands do their work, print what they can, and exit correctly."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, PROGRAM, Done, Valerix

SHELL = "/bin/sh"
WITHOUT_PLATFORM = [
    ("version",),
    ("--version",),
    ("--help",),
    ("load", "--help"),
    ("schema",),
    ("explain", "4"),
    ("drill", "list"),
]
BROKEN = {
    "stdin closed": "<&-",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "stderr full": "2>/dev/full",
}


def run(valerix: Valerix, redirection: str, *typed: str) -> Done:
    """Run a command as a shell does, with some of its streams redirected."""
    done = subprocess.run(
        [SHELL, "-c", f'exec "$0" "$@" {redirection}', PROGRAM, *typed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=valerix.directory,
        env=valerix.environ,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("typed", WITHOUT_PLATFORM, ids=" ".join)
def test_a_result_that_cannot_be_written_exits_with_1_and_a_three_line_error(
    valerix: Valerix, typed: tuple[str, ...]
) -> None:
    done = run(valerix, ">/dev/full", *typed)
    assert done.code == 1
    assert done.err.splitlines()[1] == "  why: stdout: No space left on device"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_closed_standard_stream_is_replaced_by_the_null_device(valerix: Valerix, broken: str) -> None:
    done = run(valerix, BROKEN[broken], "order", "list", "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert "stdout" in broken or "all" in broken or json.loads(done.out) is not None


def test_a_later_opened_file_does_not_replace_a_closed_standard_stream(valerix: Valerix, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    done = run(valerix, ">&- 2>&-", "order", "place", "ps5", "--journal", str(journal))
    assert done.code == 0
    assert all(isinstance(json.loads(line), dict) for line in journal.read_text().splitlines())


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("full-1", ("order", "place", "ps5", "--key", "full-1")),
        ("full-2", ("order", "place", "ps5", "--key", "full-2", "-o", "jsonl", "-q")),
        ("full-3", ("stock", "restock", "ps5", "1", "--key", "full-3", "-q")),
        ("full-4", ("load", "--rate", "5/s", "--for", "400ms", "--key-prefix", "full-4", "-q")),
    ],
)
def test_an_order_whose_result_cannot_be_printed_shows_its_key(
    valerix: Valerix, key: str, typed: tuple[str, ...]
) -> None:
    done = run(valerix, ">/dev/full", *typed)
    assert done.code == 1
    assert f"what was sent has the key {key}" in done.err


@pytest.mark.parametrize(
    ("sent", "code", "ignored"),
    [
        (signal.SIGHUP, 129, ""),
        (signal.SIGHUP, 143, "HUP"),
        (signal.SIGINT, 130, ""),
        (signal.SIGINT, 143, "INT"),
        (signal.SIGTERM, 143, "TERM"),
    ],
    ids=["hang-up", "hang-up under nohup", "ctrl-c", "ctrl-c in the background", "terminated anyway"],
)
def test_a_signal_ends_a_command_unless_it_was_ignored_at_its_start(
    valerix: Valerix, sent: signal.Signals, code: int, ignored: str
) -> None:
    """SIGTERM is always handled; the others only if they were not ignored at the start."""
    ignore = f"trap '' {ignored}; " if ignored else ""
    watching = subprocess.Popen(
        [SHELL, "-c", f'{ignore}exec "$0" "$@"', PROGRAM, "stock", "watch"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=valerix.environ,
    )
    assert watching.stdout is not None
    watching.stdout.readline()  # it keeps running
    watching.send_signal(sent)
    if ignored:
        watching.send_signal(signal.SIGTERM)
    out, err = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == code, out + err
