"""Run all checks of `valerix doctor`, and apply fixes."""

from collections.abc import Sequence
from datetime import datetime

from valerix_cli.doctor import (
    binaries,
    cluster,
    databases,
    machine,
    ports,
    redis,
    runtime_state,
    services,
    state_directory,
    supervisor,
)
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import Finding, Fix
from valerix_cli.doctor.model import Diagnosis, conclude
from valerix_cli.doctor.runner import run
from valerix_cli.reasons import why

_PARTS = (machine, binaries, state_directory, supervisor, ports, databases, redis, services, runtime_state, cluster)


def run_checks(setup: Setup) -> list[Finding]:
    """Run all checks at once, within the time limit of one. Changes nothing."""
    return run([one for part in _PARTS for one in part.check_tasks(setup)], setup.limits.check)


def apply_fixes(findings: Sequence[Finding]) -> list[str]:
    """Apply each fix. Returns a sentence for each: its result, or its error."""
    return [_do(finding.fix, finding.check.name) for finding in findings if finding.fix]


def diagnose(setup: Setup, findings: Sequence[Finding], fixed: list[str], *, at: datetime, seconds: float) -> Diagnosis:
    checks = [finding.check for finding in findings]
    place = str(setup.directory) if setup.directory else None
    return Diagnosis(conclude(checks), setup.name, place, at, round(seconds, 3), checks, fixed)


def _do(fix: Fix, name: str) -> str:
    try:
        return fix()
    except OSError as error:
        return f"{name}: not fixed, {why(error)}."
