"""A recording is an asciicast of version 2."""

import json
from pathlib import Path

import pytest

from valerix_cli.demo.asciicast import Recording
from valerix_cli.errors import BadUsageError


def test_a_recording_has_a_header_and_events_in_order_of_time(tmp_path: Path) -> None:
    times = iter([100.0, 100.5, 102.25])
    path = tmp_path / "demo.cast"
    with Recording(path, 80, 24, "A title", clock=lambda: next(times)) as cast:
        cast.output("\x1b[2Jone\r\n")
        cast.output("Schrödinger")
        cast.resized(160, 50)
    header, *events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {name: header[name] for name in ("version", "width", "height", "title")} == {
        "version": 2,
        "width": 80,
        "height": 24,
        "title": "A title",
    }
    assert isinstance(header["timestamp"], int)
    assert events == [[0.0, "o", "\x1b[2Jone\r\n"], [0.5, "o", "Schrödinger"], [2.25, "r", "160x50"]]


def test_a_recording_is_written_while_it_runs(tmp_path: Path) -> None:
    with Recording(tmp_path / "demo.cast", 80, 24, "A title") as cast:
        cast.output("one")
        assert len((tmp_path / "demo.cast").read_text().splitlines()) == 2


def test_an_unwritable_recording_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="cannot be written"):
        Recording(tmp_path / "nowhere" / "demo.cast", 80, 24, "A title")
