"""Runs the doctor on a platform, as a command or in this process."""

import json
import subprocess
from dataclasses import replace
from typing import Any

from tests.cli.conftest import Valerix
from valerix_cli.doctor.diagnose import run_checks
from valerix_cli.doctor.environment import Limits, read_setup
from valerix_cli.doctor.model import Check
from valerix_cli.local.ports import LOOPBACK
from valerix_cli.options import GlobalOptions
from valerix_cli.settings import read_settings

NOBODY = f"http://{LOOPBACK}:9"


def diagnose(valerix: Valerix, *typed: str, code: int = 0, **environ: str) -> dict[str, dict[str, Any]]:
    """Return each check by its group and name, as the command reports it."""
    result = json.loads(valerix("doctor", *typed, "-o", "json", code=code, **environ).out)
    return {f"{check['group']}: {check['name']}": check for check in result["checks"]}


def examined(valerix: Valerix, *, context: str | None = None, **changes: Any) -> dict[str, Check]:
    """Return the checks of a set-up with some `changes`, run within this process."""
    options = GlobalOptions(context=context)
    setup = read_setup(read_settings(options, valerix.environ, valerix.directory), valerix.environ, Limits())
    return {f"{one.check.group}: {one.check.name}": one.check for one in run_checks(replace(setup, **changes))}


def in_a_shell(hint: str) -> None:
    subprocess.run(hint, shell=True, check=True)  # noqa: S602 - hints are commands for a shell


def describe(valerix: Valerix, name: str, **settings: Any) -> None:
    """Append a context that is not local to the user's config."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    (valerix.directory / "config.toml").write_text("\n".join([f"[contexts.{name}]", *lines, ""]))
