"""Tables of the results, one per subject, as rows of cells.

The first row is the header; without data it is the only one.
"""

from collections.abc import Sequence

from tests.benchmarks.acceptance import evaluate, of_bound, per_second
from tests.benchmarks.formatting import PERCENTILES, statuses, summary, times
from tests.benchmarks.latency import RATES
from tests.benchmarks.results import Result
from tests.benchmarks.throughput import CLIENTS

Rows = Sequence[Sequence[str]]
KINDS = {"hot": "hot item", "items": "1,000 items"}
_HOLDS = {True: "holds", False: "**does not hold**", None: "not measured"}


def required(result: Result) -> Rows:
    rows = [[one.what, one.figure, one.required, _HOLDS[one.holds]] for one in evaluate(result)]
    return [["", "figure", "required", ""], *rows]


def bound(result: Result) -> Rows:
    if not (found := result.bounds):
        return []
    return [
        ["pgbench", "clients", "figure"],
        ["order rows: one INSERT a transaction", "16", summary([one.order_rows for one in found], "/s")],
        ["hot stock row: UPDATE and ledger line, a transaction", "16", summary([one.stock_row for one in found], "/s")],
        ["**the one-by-one bound**: one after the other", "", summary([one.per_second for one in found], "/s")],
        ["an order's three commits, one client alone", "1", summary([one.alone for one in found], " ms")],
    ]


def throughput(result: Result) -> Rows:
    head = ["clients"]
    head += [f"{kind}: {what}" for kind in KINDS.values() for what in ("orders/s", "of the bound", "p50 / p95 / p99")]
    rows = [
        [f"{number:,}", *(cell for case in KINDS for cell in _pace(result, f"{case}/{number}"))]
        for number in CLIENTS
        if f"hot/{number}" in result.cases
    ]
    return [head, *rows]


def _pace(result: Result, case: str) -> list[str]:
    return [
        summary(per_second(result, case)),
        summary(of_bound(result, case), " ×"),
        times(result.cases[case]) if case in result.cases else "",
    ]


def replays(result: Result) -> Rows:
    cases = sorted((one for one in result.cases if one.startswith("replays/")), key=_number)
    return [
        ["clients", "new orders/s", "replays/s", "p50 / p95 / p99", "answered with the stored response"],
        *(
            [
                str(_number(case)),
                summary(per_second(result, case.replace("replays", "new"))),
                summary(per_second(result, case)),
                times(result.cases[case]),
                f"{sum(one.replayed for one in result.cases[case]):,}",
            ]
            for case in cases
        ),
    ]


def rates(result: Result) -> Rows:
    rows = [
        [
            f"{name:,}" if isinstance(name, int) else "half of what 256 clients get",
            summary(per_second(result, f"rate/{name}")),
            *(summary([getattr(one, at) for one in result.cases[f"rate/{name}"]]) for at in PERCENTILES),
            "the load" if any(one.limited for one in result.cases[f"rate/{name}"]) else "",
        ]
        for name in (*RATES, "half")
        if f"rate/{name}" in result.cases
    ]
    return [["orders/s wanted", "answered", "p50", "p95", "p99", "limited by"], *rows]


def gremlins(result: Result) -> Rows:
    head = ["gremlin", "orders/s without", "under it", "p50 / p95 / p99", "answers", "breaker open within"]
    head += ["backlog", "orders/s while 95 % to 5 % of it are left", "all gone after", "audit"]
    rows = [
        [
            name,
            summary([one.calm.per_second for one in found]),
            summary([one.live.per_second for one in found]),
            times([one.live for one in found]),
            statuses([one.live for one in found]),
            summary([one.opened_after for one in found if one.opened_after is not None], " s"),
            summary([one.drain.orders for one in found]),
            summary([one.drain.per_second for one in found]),
            summary([one.drain.last for one in found], " s"),
            ", ".join(sorted({one.audit for one in found})),
        ]
        for name, found in result.ordeals.items()
    ]
    return [head, *rows]


def drains(result: Result) -> Rows:
    if not (found := result.drains):
        return []
    return [
        [
            "orders queued",
            "falls after",
            "all gone after",
            "orders/s while 95 % to 5 % are left",
            "orders/s in all",
        ],
        [
            summary([one.orders for one in found]),
            summary([one.first for one in found], " s"),
            summary([one.last for one in found], " s"),
            summary([one.per_second for one in found]),
            summary([one.per_second_in_all for one in found]),
        ],
    ]


def rows(result: Result) -> Rows:
    cases = sorted((one for one in result.cases if one.startswith("rows/") and "/full/" in one), key=_number)
    pairs = [(case, case.replace("/full/", "/empty/")) for case in cases]
    return [
        ["orders stored", "clients", "orders/s, empty", "filled", "p95, empty", "filled"],
        *(
            [
                f"{int(full.split('/')[1]):,}",
                full.split("/")[3],
                *(summary(per_second(result, case)) for case in (empty, full)),
                *(summary([one.p95 for one in result.cases[case]]) for case in (empty, full)),
            ]
            for full, empty in pairs
        ),
    ]


def replicas(result: Result) -> Rows:
    cases = [one for one in result.cases if one.startswith("replicas/")]
    rows = []
    for case in cases:
        _, number, kind, clients = case.split("/")
        pace = [summary(per_second(result, case)), summary(of_bound(result, case), " ×")]
        rows.append([number, clients, KINDS[kind], *pace, times(result.cases[case])])
    return [["replicas", "clients", "of", "orders/s", "of the bound", "p50 / p95 / p99"], *rows]


def memory(result: Result) -> Rows:
    soak = result.soak
    rows = []
    for name, most in sorted(result.peaks.items()):
        values = soak.megabytes.get(name, []) if soak else []
        rows.append([name, f"{most:g}", *((f"{values[0]:g}", f"{values[-1]:g}") if values else ("", ""))])
    return [["process", "MB at most", "as the soak began", "as it ended"], *rows]


def sent(result: Result) -> Rows:
    rows = [["audit", name, verdict] for name, verdict in result.audits.items()]
    if (found := result.capacity) is not None:
        figure = f"{found.per_second:,.0f} orders/s with {found.cpu:.0%} of one core, to a server that does nothing"
        rows.append(["load", "`valerix load`, 64 clients", figure])
    return [["", "of", ""], *rows]


def _number(case: str) -> int:
    return int(case.split("/")[1])
