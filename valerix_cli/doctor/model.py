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
    """One thing that was looked at: how it is, in a sentence, and what to type where it is not well.

    `fixable`: `valerix doctor --fix` does it.
    """

    group: Group
    name: str
    status: Status
    found: str
    hint: str | None = None
    fixable: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """The whole of it. `failed` outweighs `warning`, which outweighs `ok`; `fixed` says what was put right before."""

    verdict: Literal["ok", "warning", "failed"]
    context: str
    state_dir: str | None
    at: datetime
    seconds: float
    checks: list[Check]
    fixed: list[str] = []


def conclude(checks: Sequence[Check]) -> Literal["ok", "warning", "failed"]:
    """The worst counts. What was skipped does not, but where all was, nothing is known to be well."""
    found = {check.status for check in checks}
    if "failed" in found:
        return "failed"
    return "ok" if "ok" in found and "warning" not in found else "warning"
