"""The results of the doctor by group, with hints below failures."""

from collections import Counter

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.checks import Status
from valerix_cli.doctor.model import Check, Diagnosis
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, table

_LIKE: dict[Status, str] = {"ok": "confirmed", "warning": "queued", "failed": "dead", "skipped": ""}
"""The status that determines a finding's colour."""


def diagnosis_view(found: Diagnosis) -> RenderableType:
    return Group(_checks(found.checks), Text(), coloured(_conclusion(found), _LIKE[found.verdict]))


def _checks(checks: list[Check]) -> RenderableType:
    rows: list[list[RenderableType]] = []
    last, hints = None, set[str | None]()
    for check in checks:
        if check.group != last:
            rows.append([Text(check.group, style="bold"), "", ""])
        again = check.status == "skipped" and check.hint in hints
        rows.append([f"  {check.name}", _status(check), _found(check, again=again)])
        last = check.group
        hints.add(check.hint)
    return table("check", "status", "found", rows=rows, wrap=("found",))


def _status(check: Check) -> Text:
    return coloured(check.status, _LIKE[check.status])


def _found(check: Check, *, again: bool) -> Text:
    """Return a result, and on its own line the hint; a hint is not repeated for skipped checks."""
    found = Text(check.found, style="dim" if check.status == "skipped" else "")
    if check.hint and not again:
        found.append("\ntry: ", style="dim").append(check.hint, style="bold")
    return found


def _conclusion(found: Diagnosis) -> str:
    counts = Counter(check.status for check in found.checks)
    several: dict[Status, str] = {"warning": "warnings"}
    parts = [
        f"{count} {several.get(status, status) if count > 1 else status}"
        for status in _LIKE
        if (count := counts[status])
    ]
    return f"{', '.join(parts)}, in {format_duration(found.seconds)}."
