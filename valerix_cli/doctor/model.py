"""Results of the doctor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from valerix_cli.checks import Status

Group = Literal[
    "machine",
    "state directory",
    "platform",
    "ports",
    "databases",
    "redis",
    "services",
    "access",
    "schema",
    "clock",
    "cluster",
]
GROUPS: tuple[Group, ...] = get_args(Group)


class Check(msgspec.Struct, frozen=True):
    """The result of one check: a sentence, and the command to use if it failed.

    `fixable`: `valerix doctor --fix` can correct it.
    """

    group: Group
    name: str
    status: Status
    found: str
    hint: str | None = None
    fixable: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """All results. `failed` outweighs `warning`, which outweighs `ok`; `fixed` lists the corrections made before."""

    verdict: Literal["ok", "warning", "failed"]
    context: str
    state_dir: str | None
    at: datetime
    seconds: float
    checks: list[Check]
    fixed: list[str] = []


def conclude(checks: Sequence[Check]) -> Literal["ok", "warning", "failed"]:
    """Return the worst result. Skipped checks do not count, unless all were skipped: then the result is a warning."""
    found = {check.status for check in checks}
    if "failed" in found:
        return "failed"
    return "ok" if "ok" in found and "warning" not in found else "warning"
