"""Results of `valerix cluster`."""

from typing import Literal

import msgspec

from valerix_cli.checks import Status

Action = Literal["created", "changed", "deleted", "unchanged", "replaced", "refused"]
MARKS: dict[Action, str] = {
    "created": "+",
    "changed": "~",
    "replaced": "~",
    "deleted": "-",
    "unchanged": "=",
    "refused": "!",
}


class Change(msgspec.Struct, frozen=True):
    """The change to one object; `lines` are a unified diff of its YAML with secrets redacted.

    `note` describes side effects. `others` are the fields that other managers own, which are kept.
    """

    kind: str
    name: str
    action: Action
    lines: list[str] = []
    note: str = ""
    others: list[str] = []

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Diff(msgspec.Struct, frozen=True):
    """The changes of an apply. `refused` lists the objects that the cluster would refuse, with reasons."""

    cluster: str
    namespace: str
    overlay: str
    summary: str
    changes: list[Change]
    refused: list[str] = []


class Applied(msgspec.Struct, frozen=True):
    """The result of an apply.

    `orphans` are objects of Valerix that the overlay no longer has: `--prune` deletes them.
    """

    cluster: str
    namespace: str
    overlay: str
    summary: str
    dry_run: bool
    changes: list[Change]
    orphans: list[str]
    seconds: float


class CheckLine(msgspec.Struct, frozen=True):
    """The result of one check before an apply."""

    group: Literal["access", "version", "rights", "images", "kinds", "storage", "way in"]
    name: str
    status: Status
    found: str
    hint: str | None = None


class Readiness(msgspec.Struct, frozen=True):
    """The result of the checks before an apply.

    `role`: the Role and ClusterRole that would grant missing permissions, as YAML.
    """

    verdict: Literal["ok", "warning", "failed"]
    cluster: str
    namespace: str
    overlay: str
    checks: list[CheckLine]
    role: str | None = None


class Revision(msgspec.Struct, frozen=True):
    """A revision of a service. `available`: its pods are, or were at some time, available."""

    service: str
    revision: int
    image: str
    created: str
    current: bool
    available: Literal["now", "before", "unknown"]


class Workload(msgspec.Struct, frozen=True):
    """The state of a workload."""

    kind: str
    name: str
    state: Literal["ready", "waiting", "failed"]
    ready: int
    desired: int
    image: str
    restarts: int
    revision: int | None
    detail: str


class Volume(msgspec.Struct, frozen=True):
    name: str
    phase: str
    size: str


class ClusterStatus(msgspec.Struct, frozen=True):
    """The state of all workloads. `unseen`: kinds that the user may not list."""

    cluster: str
    namespace: str
    version: str
    state: Literal["ready", "waiting", "failed", "absent"]
    workloads: list[Workload]
    volumes: list[Volume]
    ways_in: list[str]
    unseen: list[str] = []


class RolledBack(msgspec.Struct, frozen=True):
    """One service that was rolled back to an earlier revision."""

    name: str
    from_revision: int
    to_revision: int
    from_image: str
    to_image: str


class Deleted(msgspec.Struct, frozen=True):
    """The objects that were deleted, and those that were kept."""

    cluster: str
    namespace: str
    deleted: list[str]
    kept: list[str]


def summary(changes: list[Change]) -> str:
    """Return `+2 ~1 -0 =5`, with `!1` if an object is refused."""
    marks = [MARKS[change.action] for change in changes]
    return " ".join(f"{mark}{marks.count(mark)}" for mark in ("+", "~", "-", "=", "!") if mark != "!" or mark in marks)
