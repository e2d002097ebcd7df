"""A receipt as Markdown, for a pull request or a job's summary."""

import re
from collections.abc import Iterable, Sequence

from valerix_cli.drills.receipt import Receipt
from valerix_cli.escaping import escape_values
from valerix_cli.views.drills import CONCLUSIONS, MARKS, affected, figure, summary

_MARKS = re.compile(r"[\\`*~\[\]|]|(?<![^\W_])_|_(?![^\W_])")


def markdown(receipt: Receipt) -> str:
    receipt = escape_values(receipt)
    parts = [f"# Drill {_plain(receipt.drill)}: {receipt.outcome}", CONCLUSIONS[receipt.outcome]]
    if receipt.description:
        parts.append(f"> {_plain(receipt.description)}")
    parts.append(_table(("", ""), summary(receipt)))
    if receipt.injections:
        rows = [
            (one.description, _times(one.began, one.ended), f"{one.hits:,}", affected(one))
            for one in receipt.injections
        ]
        parts += ["## Injected", _table(("fault", "from, to", "injected", "of"), rows)]
    checks = [(one.phase, one.require, MARKS[one.verdict], one.why) for one in receipt.checks]
    parts += ["## Required", _table(("phase", "require", "verdict", "why"), checks)]
    if receipt.comparison:
        rows = [
            (one.metric, figure(one.baseline), figure(one.now), one.verdict) for one in receipt.comparison.differences
        ]
        parts += [
            f"## Against {_plain(receipt.comparison.baseline)}",
            _table(("metric", "baseline", "now", "verdict"), rows),
        ]
    return "\n\n".join(parts) + "\n"


def _times(began: float, ended: float | None) -> str:
    return f"{began:.1f} s, " + ("not over" if ended is None else f"{ended:.1f} s")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return the text in one line, with all HTML and Markdown syntax escaped."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
