"""The result of the last audit."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.audit.model import Audit, Invariant
from valerix_cli.top.panels.size import Room
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured

_LIKE = {"clean": "confirmed", "violated": "dead", "unsettled": "queued"}


def draw(audit: Audit, _: Room) -> RenderableType:
    held = sum(one.verdict == "held" for one in audit.invariants)
    unchecked = sum(one.verdict == "not-checked" for one in audit.invariants)
    orders = sum(audit.compared.orders.values())
    return Text("\n").join(
        [
            Text.assemble(_verdict(audit), f" at {audit.at.astimezone():%H:%M:%S}"),
            Text(f"{orders:,} orders in {format_duration(audit.seconds)}: {held} rules held, {unchecked} not checked"),
            *(_broken(one) for one in audit.invariants if one.examples),
        ]
    )


def _verdict(audit: Audit) -> Text:
    if audit.verdict == "clean" and audit.without_orders:
        return coloured("nothing to compare", "queued")
    return coloured(audit.verdict, _LIKE[audit.verdict])


def _broken(one: Invariant) -> Text:
    """Return a violated invariant and its first example."""
    first = one.examples[0]
    return Text(f"{one.name} ({one.verdict}, {one.broken:,}): {first.subject}: {first.wrong}")
