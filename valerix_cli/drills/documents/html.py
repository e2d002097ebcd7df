"""A receipt as one HTML page that asks nobody for anything, and reads as well on a phone as on a wall."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from valerix_cli.drills.documents.plots import backlog_plot, latency_plot, volume_plot
from valerix_cli.drills.receipt import Comparison, Receipt
from valerix_cli.escaping import escape_values
from valerix_cli.views.drills import CONCLUSIONS, MARKS, figure, struck, summary

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
)
"""How each page begins, by which one is known."""
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--paper:#fff;--quiet:#5b6577;--rule:#d9dee7;--good:#1a7f4b;--wait:#b97c00;
--bad:#c02f3a;--calm:#3566c8;--fault:#c02f3a1a}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--paper:#14181f;--quiet:#9aa5b8;--rule:#2c3441;--good:#4cc38a;
--wait:#f0b849;--bad:#ff7b82;--calm:#7ea6ff;--fault:#ff7b822b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:1.2rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
article+article{border-top:2px solid var(--rule);margin-top:3rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:1.8rem 0 .5rem}p{margin:.3rem 0}
.verdict{font-weight:600;border-left:.4rem solid;padding:.4rem .8rem;margin:.8rem 0}
.passed,.ok{color:var(--good)}.inconclusive,.interrupted,.measured{color:var(--wait)}.no{color:var(--bad)}
.teaches{color:var(--quiet)}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--rule)}
th{font-weight:500;color:var(--quiet)}
figure{margin:1rem 0}figcaption{font-weight:500;display:flex;flex-wrap:wrap;gap:.2rem 1rem}
.keys span{white-space:nowrap;font-weight:400;color:var(--quiet);margin-right:.8rem}
.keys i{display:inline-block;width:.7em;height:.7em;
margin-right:.3em}svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:var(--quiet)}
.axis{fill:none;stroke:var(--rule)}.line{fill:none;stroke-width:1.6}rect.good{fill:var(--good)}rect.wait{fill:var(--wait)}
rect.bad{fill:var(--bad)}rect.calm{fill:var(--calm)}rect.fault{fill:var(--fault)}.line.bad{stroke:var(--bad)}
.line.calm{stroke:var(--calm)}i.good{background:var(--good)}i.wait{background:var(--wait)}i.bad{background:var(--bad)}
i.calm{background:var(--calm)}pre{overflow-x:auto;background:var(--fault);padding:.8rem}code{font-size:.9rem}
@media(max-width:40rem){.stack thead{display:none}.stack td{display:block;border:0;padding:.05rem 0}
.stack tr{display:block;border-bottom:1px solid var(--rule);padding:.4rem 0}
.stack td:not([data-name=""])::before{content:attr(data-name) " ";color:var(--quiet)}}
"""
_COLOUR = {"held": "ok", "not-measured": "measured"}


def html(receipts: Sequence[Receipt]) -> str:
    receipts = [escape_values(receipt) for receipt in receipts]
    title = ", ".join(f"{receipt.drill}: {receipt.outcome}" for receipt in receipts)
    return (
        f"{HEAD}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(map(_article, receipts))}</body></html>\n"
    )


def _article(receipt: Receipt) -> str:
    colour = receipt.outcome if receipt.outcome in {"passed", "inconclusive", "interrupted"} else "no"
    parts = [
        f"<h1>Drill {escape(receipt.drill)}</h1>",
        f'<p class="verdict {colour}">{escape(CONCLUSIONS[receipt.outcome])}</p>',
        *(f"<p>{escape(line)}</p>" for line in receipt.why),
        f'<p class="teaches">{escape(receipt.teaches)}</p>',
        _table((), summary(receipt)),
        "<h2>What happened</h2>",
        volume_plot(receipt.timeline, receipt.injections),
        latency_plot(receipt.timeline, receipt.injections),
        backlog_plot(receipt.timeline, receipt.injections),
        *_injected(receipt),
        *_required(receipt),
        *_compared(receipt.comparison),
        "<h2>Step by step</h2>",
        _table((), [(f"{event.at:.1f} s", event.what) for event in receipt.events]),
        f"<h2>The drill file</h2><pre><code>{escape(receipt.text)}</code></pre>",
    ]
    return f"<article>{''.join(parts)}</article>"


def _injected(receipt: Receipt) -> Iterator[str]:
    if receipt.injections:
        yield "<h2>What was injected</h2>"
        yield _table(
            ("fault", "from", "to", "injected", "of"),
            [
                (one.says, f"{one.began:.1f} s", _until(one.ended), f"{one.hits:,}", struck(one))
                for one in receipt.injections
            ],
        )


def _until(ended: float | None) -> str:
    return "" if ended is None else f"{ended:.1f} s"


def _required(receipt: Receipt) -> Iterator[str]:
    yield "<h2>What was required</h2>"
    yield _table(
        ("phase", "require", "verdict", "why"),
        [
            (check.phase, check.require, _mark(MARKS[check.verdict], _COLOUR.get(check.verdict, "no")), check.why)
            for check in receipt.checks
        ],
    )


def _compared(found: Comparison | None) -> Iterator[str]:
    if found:
        yield f"<h2>Against {escape(found.baseline)}</h2>"
        yield _table(
            ("metric", "baseline", "now", "verdict"),
            [(one.metric, figure(one.baseline), figure(one.now), one.verdict) for one in found.differences],
        )


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _mark(word: str, colour: str) -> _Markup:
    return _Markup(f'<b class="{colour}">{escape(word)}</b>')


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in heads)}</tr></thead>" if heads else ""
    names = heads or ("", "")
    body = "".join(f"<tr>{''.join(map(_cell, names, row))}</tr>" for row in rows)
    return f'<div class="wide"><table class="stack">{head}<tbody>{body}</tbody></table></div>'


def _cell(name: str, text: str) -> str:
    """`name` is shown where the table has become a list, for want of width."""
    return f'<td data-name="{escape(name)}">{text if isinstance(text, _Markup) else escape(text)}</td>'
