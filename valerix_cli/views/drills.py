"""Views of drills and their receipts."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.drills.receipt import Comparison, Injection, Receipt
from valerix_cli.output_models import DrillSummary, RunSummary
from valerix_cli.units import format_duration
from valerix_cli.views.tables import clock, coloured, facts, table

MARKS = {"held": "ok", "missed": "MISSED", "violated": "VIOLATED", "not-measured": "not measured"}
_LIKE = {"held": "confirmed", "missed": "dead", "violated": "dead", "not-measured": "queued"}
CONCLUSIONS = {
    "passed": "Passed: the faults fired, everything that was required held, and all faults are off.",
    "missed": "Missed: something that was required did not hold.",
    "violated": "VIOLATED: an invariant is broken. Keep the databases as they are.",
    "inconclusive": "Inconclusive: this proves nothing either way.",
    "not-rolled-back": "NOT ROLLED BACK: faults may be live. valerix chaos off; valerix status",
    "worse": "Worse than the baseline.",
    "interrupted": "Interrupted; all faults are off.",
}
_OF_FIGURES = {"WORSE": "dead", "ok": "confirmed", "not compared": "queued"}
_OUTCOME_LIKE = {"passed": "confirmed", "inconclusive": "queued", "interrupted": "queued"}


def drills_view(drills: list[DrillSummary]) -> RenderableType:
    return table(
        "drill",
        "takes",
        "faults",
        "description",
        rows=[
            [
                one.name,
                format_duration(one.load_seconds),
                "; ".join(one.faults) or "none, only load",
                _first(one.description),
            ]
            for one in drills
        ],
        wrap=("faults", "description"),
        spare=("takes",),
    )


def runs_view(runs: list[RunSummary]) -> RenderableType:
    if not runs:
        return Text("No receipt is kept yet: valerix drill run slow-inventory")
    return table(
        "run",
        "outcome",
        "exit",
        "injected",
        "orders",
        rows=[
            [
                one.run,
                coloured(one.outcome, _OUTCOME_LIKE.get(one.outcome, "dead")),
                str(one.exit_code),
                f"{one.injected:,}",
                f"{one.orders:,}",
            ]
            for one in runs
        ],
        right=("exit", "injected", "orders"),
    )


def receipt_view(receipt: Receipt) -> RenderableType:
    parts: list[RenderableType] = [facts(summary(receipt)), Text()]
    if receipt.injections:
        parts += [_injections(receipt.injections), Text()]
    parts.append(
        table(
            "phase",
            "require",
            "verdict",
            "why",
            rows=[
                [check.phase, check.require, coloured(MARKS[check.verdict], _LIKE[check.verdict]), check.why]
                for check in receipt.checks
            ],
            wrap=("require", "why"),
        )
    )
    if receipt.comparison:
        parts += [Text(), comparison_view(receipt.comparison)]
    parts += [Text(), coloured(CONCLUSIONS[receipt.outcome], _OUTCOME_LIKE.get(receipt.outcome, "dead"))]
    return Group(*parts)


def _first(text: str) -> str:
    """Return the first sentence."""
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


def summary(receipt: Receipt) -> list[tuple[str, str]]:
    """Return the summary of a receipt as (name, value) pairs."""
    hits = sum(injection.hits for injection in receipt.injections)
    rows = [
        ("drill", f"{receipt.drill}, seed {receipt.seed}, against {receipt.context}"),
        ("run", f"{receipt.run}, {clock(receipt.started_at)}, took {format_duration(receipt.seconds)}"),
        ("orders", f"{receipt.orders:,} by {receipt.requests:,} requests: {counts(receipt.outcomes)}"),
        ("injected", str(hits) if receipt.injections else "nothing: the drill has no faults"),
    ]
    if receipt.opened_after is not None:
        rows.append(("breaker", f"opened {format_duration(receipt.opened_after)} after the first fault"))
    if receipt.recovered_after is not None:
        rows.append(("recovered", f"{format_duration(receipt.recovered_after)} after the last fault was over"))
    if receipt.replays:
        rows.append(("replays", receipt.replays))
    return [*rows, ("again", receipt.rerun_command)]


def counts(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()) or "none"


def _injections(injections: list[Injection]) -> RenderableType:
    return table(
        "fault",
        "from",
        "to",
        "injected",
        "of",
        rows=[
            [
                one.description,
                f"{one.began:.1f} s",
                "" if one.ended is None else f"{one.ended:.1f} s",
                f"{one.hits:,}",
                affected(one),
            ]
            for one in injections
        ],
        right=("from", "to", "injected"),
        wrap=("fault", "of"),
    )


def affected(one: Injection) -> str:
    """Return the unit of an injection's hits: attempts, processes or keys."""
    if one.kind == "gremlin":
        return f"{one.rolls:,} attempts"
    if one.kind == "flush":
        return "keys"
    return (
        ", ".join(f"{each.name} back after {format_duration(each.back_after or 0)}" for each in one.affected)
        or "nothing"
    )


def comparison_view(found: Comparison) -> RenderableType:
    return table(
        "metric",
        "baseline",
        "now",
        "change",
        "verdict",
        rows=[
            [
                one.metric,
                figure(one.baseline),
                figure(one.now),
                "" if one.change is None else f"{one.change:+.0%}",
                coloured(one.verdict, _OF_FIGURES[one.verdict]),
            ]
            for one in found.differences
        ],
        right=("baseline", "now", "change"),
    )


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
