"""Command line of the benchmarks."""

import pytest

from tests.benchmarks.__main__ import main


@pytest.mark.parametrize("partial", [["--quick"], ["--only", "latency"]])
def test_only_a_complete_run_is_written(partial: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*partial, "--write"])
    assert "--write is for a whole run" in capsys.readouterr().err


def test_an_unknown_part_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "latency,thruput"])
    assert "'thruput' is none of throughput,replays,latency" in capsys.readouterr().err


def test_a_missing_result_file_exits_with_1_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", "no-such-file.json"]) == 1
    assert "try: --from docs/performance.json" in capsys.readouterr().err
