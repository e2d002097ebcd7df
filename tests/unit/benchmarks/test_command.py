"""Command line of the benchmarks."""

import pytest

from tests.benchmarks.__main__ import main


@pytest.mark.parametrize("partial", [["--quick"], ["--only", "latency"]])
def test_only_a_whole_run_is_written_down(partial: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*partial, "--write"])
    assert "--write is for a whole run" in capsys.readouterr().err


def test_a_part_that_does_not_exist_is_refused_and_the_parts_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "latency,thruput"])
    assert "'thruput' is none of throughput,replays,latency" in capsys.readouterr().err


def test_figures_that_are_not_there_end_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", "no-such-file.json"]) == 1
    assert "try: --from docs/performance.json" in capsys.readouterr().err
