"""The guide to pipelines matches the drills and exit codes."""

import re
from pathlib import Path

import yaml

from valerix_cli.commands import drill
from valerix_cli.drills import parser, verdict
from valerix_cli.errors import ExitCode

GUIDE = (Path(__file__).parents[3] / "docs" / "ci.md").read_text()


def test_the_documented_workflow_is_valid_and_runs_shipped_drills() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    job = yaml.safe_load(text)["jobs"]["drills"]
    assert set(job["strategy"]["matrix"]["drill"]) <= {file.drill.name for file in parser.shipped()}
    commands = " ".join(step["run"] for step in job["steps"] if step.get("run", "").startswith("valerix"))
    assert commands
    assert set(re.findall(r"--[a-z]+", commands)) <= options_of_run()


def options_of_run() -> set[str]:
    from typer.main import get_command  # noqa: PLC0415 - only here

    run = get_command(drill.app).commands["run"]  # type: ignore[attr-defined]  # a group has commands
    return {option for param in run.params for option in param.opts}


def test_each_exit_code_of_a_drill_is_documented() -> None:
    codes = {int(code) for code in re.findall(r"\d+", " ".join(re.findall(r"^\| ([\d, ]+) \|", GUIDE, re.MULTILINE)))}
    assert codes >= {int(code) for code in verdict.CODES.values()}
    assert codes >= {
        ExitCode.INTERRUPTED,
        ExitCode.TERMINATED,
        ExitCode.BAD_USAGE,
        ExitCode.UNREACHABLE,
        ExitCode.GUARD,
    }
