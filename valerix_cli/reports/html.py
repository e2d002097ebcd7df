"""A receipt as one self-contained HTML page, readable on a phone and on a projector."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from valerix_cli.drills.receipt import Check, Receipt
from valerix_cli.escaping import escape_values
from valerix_cli.reports.plots import FRAME, Plot, backlog_plot, latency_plot, volume_plot
from valerix_cli.views.drills import CONCLUSIONS, MARKS, affected, figure, summary

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
)
"""The beginning of each page, which identifies a file as a receipt."""
_CSS = {"passed": "passed", "inconclusive": "inconclusive", "interrupted": "interrupted"}
_CHECK_CSS = {"held": "ok", "not-measured": "measured"}


class _Marked(NamedTuple):
    """A word in the colour of its CSS class."""

    word: str
    css: str


class _Page(NamedTuple):
    """Values of a receipt for the template; tables are rows of cells."""

    receipt: Receipt
    conclusion: _Marked
    summary: Sequence[Sequence[str]]
    plots: Sequence[Plot]
    injected: Sequence[Sequence[str]]
    required: Sequence[Sequence[str | _Marked]]
    compared: Sequence[Sequence[str]]
    steps: Sequence[Sequence[str]]


def html(receipts: Sequence[Receipt]) -> str:
    """Return the page: it loads no resources, and all values are escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    pages = [_page(escape_values(receipt)) for receipt in receipts]
    return templates.get_template("receipt.html").render(head=Markup(HEAD), frame=FRAME, pages=pages)  # noqa: S704 - a constant of ours


def _page(receipt: Receipt) -> _Page:
    return _Page(
        receipt,
        _Marked(CONCLUSIONS[receipt.outcome], _CSS.get(receipt.outcome, "no")),
        summary(receipt),
        [plot(receipt.timeline, receipt.injections) for plot in (volume_plot, latency_plot, backlog_plot)],
        [
            (one.description, f"{one.began:.1f} s", _seconds(one.ended), f"{one.hits:,}", affected(one))
            for one in receipt.injections
        ],
        [_required(check) for check in receipt.checks],
        [
            (one.metric, figure(one.baseline), figure(one.now), one.verdict)
            for one in (receipt.comparison.differences if receipt.comparison else ())
        ],
        [(f"{event.at:.1f} s", event.what) for event in receipt.events],
    )


def _required(check: Check) -> Sequence[str | _Marked]:
    verdict = _Marked(MARKS[check.verdict], _CHECK_CSS.get(check.verdict, "no"))
    return (check.phase, check.require, verdict, check.why)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
