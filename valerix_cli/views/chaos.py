"""Views of gremlins: active ones, rates, targets, hits and time left."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.clients.chaos_text import gremlins, summary
from valerix_cli.clients.wire import Activation, Chaos, Hits
from valerix_cli.units import format_duration
from valerix_cli.views.tables import clock, facts, table


def activation_view(activation: Activation) -> RenderableType:
    rows = [
        ("gremlins", summary(activation)),
        ("left", format_duration(activation.remaining_seconds) if activation.remaining_seconds else "ended"),
        ("seed", str(activation.seed)),
        ("since", clock(activation.set_at)),
        ("known to", ", ".join(activation.acknowledged) or "no replica yet"),
        ("id", str(activation.id)),
    ]
    if activation.reason:
        rows.insert(1, ("reason", activation.reason))
    return Group(facts(rows), *_counts(activation))


def chaos_view(chaos: Chaos) -> RenderableType:
    parts: list[RenderableType] = []
    if chaos.halted:
        parts.append(Text("Gremlins are halted: none can be turned on.", style="yellow"))
    if chaos.drill:
        held = chaos.drill
        parts.append(Text(f"Drill {held.drill} runs, by {held.by}, since {clock(held.since)}: {held.run}"))
    parts.append(activation_view(chaos.live) if chaos.live else Text("No gremlin is live."))
    if chaos.recent:
        parts += [Text(""), Text("Ended before", style="dim"), recent_view(chaos.recent)]
    return Group(*parts)


def recent_view(ended: list[Activation]) -> RenderableType:
    return table(
        "since",
        "gremlins",
        "seed",
        "hits",
        "reason",
        wrap=("gremlins", "reason"),
        rows=[[clock(one.set_at), summary(one), str(one.seed), _hits(one), one.reason or ""] for one in ended],
    )


def chaos_line(chaos: Chaos) -> str:
    if chaos.live is None:
        return "halted" if chaos.halted else "no gremlin is live"
    return f"live: {summary(chaos.live)}; hits {_hits(chaos.live)}"


def hits_view(hits: Hits) -> RenderableType:
    if not hits.hits:
        return Text("No attempt was hit.")
    rows = [[hit.gremlin.replace("_", "-"), str(hit.order_id), str(hit.attempt)] for hit in hits.hits]
    return table("gremlin", "order", "attempt", rows=rows, right=("attempt",))


def _hits(activation: Activation) -> str:
    hits = sum(count.hits for count in activation.counts.values())
    rolls = sum(count.rolls for count in activation.counts.values())
    return f"{hits} of {rolls}"


def _counts(activation: Activation) -> list[RenderableType]:
    names = {name.replace("-", "_") for name, _ in gremlins(activation)}
    rows = [
        [name.replace("_", "-"), str(count.rolls), str(count.hits)]
        for name, count in activation.counts.items()
        if name in names
    ]
    return [Text(""), table("gremlin", "rolls", "hits", rows=rows, right=("rolls", "hits"))] if rows else []
