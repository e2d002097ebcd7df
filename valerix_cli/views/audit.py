"""Views of an audit."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.audit.model import Audit, Invariant
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, table

_MARKS = {"held": "ok", "violated": "VIOLATED", "unsettled": "unsettled", "not-checked": "not checked"}
_CONCLUSIONS = {
    "clean": "Clean: every key had exactly one effect, as far as was checked.",
    "violated": "Violated.",
    "unsettled": "Unsettled: not everything is finished, so this proves nothing yet.",
}
_NOTHING = "nothing there"
_WITHOUT_ORDERS = "Nothing was compared: there are no orders."


_LIKE = {"clean": "confirmed", "held": "confirmed", "violated": "dead", "unsettled": "queued", "not-checked": ""}
"""The status that determines a verdict's colour."""


def audit_view(audit: Audit) -> RenderableType:
    parts: list[RenderableType] = [_rules(audit), Text()]
    parts += [Text(line) for one in audit.invariants for line in _examples(one)]
    parts += [Text(f"Compared: {_compared(audit)} in {format_duration(audit.seconds)}.")]
    parts += [Text(f"Not checked: {left}.") for left in audit.not_checked]
    if audit.verdict == "clean" and audit.without_orders:
        parts.append(coloured(_WITHOUT_ORDERS, "queued"))
    else:
        parts.append(coloured(_CONCLUSIONS[audit.verdict], _LIKE[audit.verdict]))
    return Group(*parts)


def invariant_line(one: Invariant) -> str:
    """Return an invariant with a new verdict in one line."""
    first = f": {one.examples[0].subject}: {one.examples[0].wrong}" if one.examples else ""
    return f"{one.name} {_mark(one)}, {one.checked} {one.of} checked, {one.broken} broken{first}"


def _rules(audit: Audit) -> RenderableType:
    return table(
        "invariant",
        "verdict",
        "checked",
        "of",
        "broken",
        right=("checked", "broken"),
        rows=[
            [one.name, _verdict(one), f"{one.checked:,}" if one.verdict != "not-checked" else "", one.of, _broken(one)]
            for one in audit.invariants
        ],
    )


def _verdict(one: Invariant) -> Text:
    return coloured(mark := _mark(one), "" if mark == _NOTHING else _LIKE[one.verdict])


def _mark(one: Invariant) -> str:
    """Return the mark of a verdict; another one if there was nothing to check."""
    return _NOTHING if one.verdict == "held" and not one.checked else _MARKS[one.verdict]


def _broken(one: Invariant) -> str:
    return "" if one.verdict == "not-checked" else f"{one.broken:,}"


def _examples(one: Invariant) -> list[str]:
    if not one.examples:
        return []
    more = one.broken - len(one.examples)
    shown = [f"  {example.subject}: {example.wrong}" for example in one.examples]
    return [f"{one.name}: {one.rule}", *shown, *([f"  and {more:,} more"] if more > 0 else []), ""]


def _compared(audit: Audit) -> str:
    compared = audit.compared
    orders = ", ".join(f"{count:,} {status}" for status, count in compared.orders.items()) or "none"
    journal = "" if compared.journal_keys is None else f", {compared.journal_keys:,} keys of the journal"
    return (
        f"{sum(compared.orders.values()):,} orders ({orders}), {compared.events:,} steps, "
        f"{compared.deductions:,} deductions, {compared.refusals:,} refusals, {compared.items:,} items, "
        f"{compared.ledger_lines:,} ledger lines{journal}"
    )
