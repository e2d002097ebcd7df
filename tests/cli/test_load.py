"""Load from the command line."""

import signal
from pathlib import Path

from tests.cli.conftest import Valerix

CALM = ("--item", "monitor", "--rate", "20/s", "--for", "1s")


def test_a_load_is_measured_and_its_journal_audited(valerix: Valerix, tmp_path: Path) -> None:
    journal = str(tmp_path / "load.jsonl")
    result = valerix.json("load", *CALM, "--journal", journal, "--require", "error_rate < 1%")
    assert (result["orders"], result["outcomes"], result["interrupted"]) == (20, {"confirmed": 20}, False)
    assert [check["held"] for check in result["checks"]] == [True]
    assert valerix.json("audit", "--journal", journal)["compared"]["journal_keys"] == 20


def test_a_load_prints_its_result_and_reports_progress_on_stderr(valerix: Valerix) -> None:
    done = valerix("load", *CALM, "--key-prefix", "shown-", "--seed", "7")
    assert "20 confirmed" in done.out
    assert "20 orders/s for 1.0 s, seed 7, keys shown-" in done.err
    again = valerix.json("load", *CALM, "--key-prefix", "shown-", "--seed", "7")
    assert again["replayed"] == 20


def test_a_missed_gate_exits_with_10_and_an_unmeasured_one_with_12(valerix: Valerix) -> None:
    missed = valerix("load", *CALM, "--require", "throughput > 100/s", code=10)
    assert "MISSED" in missed.out
    assert "throughput > 100/s: throughput was " in missed.err
    assert "too few" in valerix("load", *CALM, "--require", "p999 < 1s", code=12).err


def test_an_invalid_load_is_refused_before_anything_is_sent(valerix: Valerix) -> None:
    assert "--rate and --clients cannot be combined" in valerix("load", "--rate", "5/s", "--clients", "2", code=2).err
    assert "perhaps throughput" in valerix("load", "--require", "thruput > 1/s", code=2).err
    assert "is not a rate" in valerix("load", "--rate", "fast", code=2).err
    assert "is not a share" in valerix("load", "--repeats", "120%", code=2).err
    assert "printable ASCII" in valerix("load", "--key-prefix", "a\r\nX-Evil: 1", code=2).err
    assert "not an item name" in valerix("load", "--item", 'ps5"', code=2).err
    assert "known names: hot, uniform, zipf" in valerix("load", "--mix", "random", code=2).err


def test_an_interrupted_load_still_prints_its_result(valerix: Valerix) -> None:
    loading = valerix.start("load", "--item", "monitor", "--rate", "20/s", "--for", "10m")
    assert loading.stderr is not None
    while "answered" not in loading.stderr.readline():
        pass
    done = valerix.end(loading, signal.SIGINT)
    assert done.code == 130
    assert "confirmed" in done.out
