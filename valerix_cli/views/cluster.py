"""A cluster as tables and diffs."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from valerix_cli.cluster.model import (
    MARKS,
    Applied,
    Change,
    CheckLine,
    ClusterStatus,
    Deleted,
    Diff,
    Readiness,
    Revision,
    RolledBack,
    Workload,
)
from valerix_cli.views.tables import coloured, facts, table

_LIKE = {
    "ok": "confirmed",
    "ready": "confirmed",
    "warning": "queued",
    "waiting": "queued",
    "failed": "dead",
    "skipped": "",
    "absent": "queued",
}
"""The status that determines a state's colour."""
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def readiness_view(found: Readiness) -> RenderableType:
    rows: list[list[RenderableType]] = [
        [line.group, line.name, _state(line.status), _found(line)] for line in found.checks
    ]
    parts: list[RenderableType] = [table("about", "check", "status", "found", rows=rows, wrap=("found",))]
    if found.role:
        parts += [Text(), Syntax(found.role.rstrip(), "yaml", background_color="default")]
    return Group(*parts)


def diff_view(found: Diff) -> RenderableType:
    parts: list[RenderableType] = []
    for change in found.changes:
        if change.action in {"unchanged", "refused"}:
            continue
        parts.append(Text(f"{MARKS[change.action]} {change} ({change.action})", style="bold"))
        parts += [Text(f"    {line}", style=_COLOURS.get(line[:1], "")) for line in change.lines]
        parts += [coloured(f"    it {change.note}", "queued")] if change.note else []
    parts += [coloured(f"! {one}", "failed") for one in found.refused]
    others = [f"  {change}: {field}" for change in found.changes for field in change.others]
    if others:
        parts += [Text(f"{len(others)} fields that others have set stay as they are:", style="dim")]
        parts += [Text(line, style="dim") for line in others]
    return Group(*parts, Text(found.summary))


def applied_view(found: Applied) -> RenderableType:
    changed = [change for change in found.changes if change.action != "unchanged"]
    head = "would be " if found.dry_run else ""
    if not changed:
        return Text(f"nothing {'would change' if found.dry_run else 'changed'}: {found.summary}")
    return Group(*_changes(changed, head), Text(f"{found.summary}, in {found.seconds:g} s"))


def status_view(found: ClusterStatus) -> RenderableType:
    where = facts(
        [
            ("cluster", f"{found.cluster}, Kubernetes {found.version}"),
            ("namespace", found.namespace),
            ("state", coloured(found.state, _LIKE[found.state])),
            *(("way in", way) for way in found.ways_in),
            *((f"volume {one.name}", f"{one.size}, {one.phase}") for one in found.volumes),
        ]
    )
    rows: list[list[RenderableType]] = [
        [
            f"{one.kind}/{one.name}",
            _state(one.state),
            f"{one.ready}/{one.desired}" if one.desired else "",
            str(one.restarts),
            str(one.revision or ""),
            one.image,
            one.detail,
        ]
        for one in found.workloads
    ]
    unseen = [Text(f"not shown, for want of the right to list them: {', '.join(found.unseen)}", style="dim")]
    if not rows:
        return Group(where, *(unseen if found.unseen else ()))
    listed = table(
        "workload",
        "state",
        "ready",
        "restarts",
        "revision",
        "image",
        "detail",
        rows=rows,
        right=("ready", "restarts", "revision"),
        wrap=("detail",),
        spare=("revision", "image"),
    )
    return Group(where, Text(), listed, *(unseen if found.unseen else ()))


def status_changes(before: ClusterStatus | None, now: ClusterStatus) -> list[Workload]:
    """Return the workloads that have changed."""
    known = {(one.kind, one.name): one for one in before.workloads} if before else {}
    return [one for one in now.workloads if known.get((one.kind, one.name)) != one]


def workload_line(one: Workload) -> str:
    detail = f": {one.detail}" if one.detail else ""
    return f"{one.kind}/{one.name} {one.state} {one.ready}/{one.desired} {one.image}{detail}"


def history_view(found: list[Revision]) -> RenderableType:
    rows: list[list[RenderableType]] = [
        [
            one.service,
            f"{one.revision}{' (current)' if one.current else ''}",
            one.created,
            coloured(one.available, "confirmed" if one.available != "unknown" else "queued"),
            one.image,
        ]
        for one in found
    ]
    return table("service", "revision", "created", "available", "image", rows=rows, right=("revision",))


def rolled_back_view(found: list[RolledBack]) -> RenderableType:
    rows = [
        [one.name, f"{one.from_revision} → {one.to_revision}", f"{one.from_image} → {one.to_image}"] for one in found
    ]
    return table("service", "revision", "image", rows=rows)


def deleted_view(found: Deleted) -> RenderableType:
    return Group(*(Text(f"- {one}") for one in found.deleted), *(Text(f"= {one} (kept)") for one in found.kept))


def _changes(changes: Iterable[Change], head: str) -> list[Text]:
    return [Text(f"{MARKS[one.action]} {one} ({head}{one.action})") for one in changes]


def _state(word: str) -> Text:
    return coloured(word, _LIKE[word])


def _found(line: CheckLine) -> Text:
    found = Text(line.found, style="dim" if line.status == "skipped" else "")
    if line.hint:
        found.append("\ntry: ", style="dim").append(line.hint, style="bold")
    return found
