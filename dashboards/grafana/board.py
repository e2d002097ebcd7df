"""`python dashboards/grafana/board.py` generates valerix.json, Grafana's dashboard, next to this file.

A test checks that it is up to date. Each row below lists its panels: title, description, unit, and Prometheus queries.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WHERE = Path(__file__).with_name("valerix.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 8  # of a panel; Grafana's grid is 24 wide
BUSY = 'service=~"order|inventory"'
PLACING = 'method="POST", route="/api/orders"'
OURS = 'service=~"order|inventory|worker|frontend"'


@dataclass(frozen=True)
class Panel:
    """A panel. `queries` are PromQL by legend. `limit` is drawn as a red line, and the area above it is red."""

    title: str
    about: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    limit: float | None = None
    words: dict[int, tuple[str, str]] = field(default_factory=dict)
    """The meaning of each value, and its colour."""
    runbook: str | None = None


def _quantile(share: float) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate(http_request_duration_seconds_bucket{{{PLACING}}}[1m])))"


ROWS: dict[str, list[Panel]] = {
    "At a glance": [
        Panel(
            "Service health",
            "Whether Prometheus reaches each process.",
            "none",
            {"{{instance}}": f"max by (instance) (up{{{OURS}}})"},
            kind="state-timeline",
            words={0: ("down", "red"), 1: ("up", "green")},
            runbook="servicedown",
        ),
        Panel(
            "Response time, average of 30 s",
            "Of all requests but health and metrics. 30 s want a scrape every 5 s, as the local platform has it.",
            "s",
            {
                "{{service}}": f"sum by (service) (rate(http_request_duration_seconds_sum{{{BUSY}}}[30s]))"
                f" / (sum by (service) (rate(http_request_duration_seconds_count{{{BUSY}}}[30s])) > 0)"
            },
            limit=1,
            runbook="highlatency",
        ),
        Panel(
            "Circuit breaker",
            "Of each process that calls inventory. Open: orders are queued instead of confirmed.",
            "none",
            {"{{instance}}": "max by (instance) (circuit_breaker_state)"},
            kind="state-timeline",
            words={0: ("closed", "green"), 1: ("open", "red"), 2: ("half-open", "yellow")},
            runbook="circuitbreakeropen",
        ),
        Panel(
            "Chaos",
            "Which gremlins are live, and how many faults a second they inject.",
            "none",
            {
                "{{type}} live": "max by (type) (inventory_chaos_enabled)",
                "{{type}} faults/s": "sum by (type) (rate(inventory_chaos_events_total[1m]))",
            },
            runbook="chaoslefton",
        ),
        Panel(
            "Stock",
            "What is left of each item; below 10 is low.",
            "none",
            {"{{item_id}}": "max by (item_id) (inventory_stock_level)"},
            kind="bargauge",
            runbook="stocklow",
        ),
        Panel(
            "Order volume",
            "New orders a second, by what they were first answered with.",
            "reqps",
            {"{{status}}": "sum by (status) (rate(orders_created_total[1m]))"},
        ),
    ],
    "Orders": [
        Panel(
            "Placing an order",
            "How long POST /api/orders takes.",
            "s",
            {"p50": _quantile(0.5), "p95": _quantile(0.95), "p99": _quantile(0.99)},
            limit=1,
            runbook="orderlatencyburnsfast",
        ),
        Panel(
            "Answers",
            "Of POST /api/orders, by status: 201 confirmed, 202 queued, 409 and 422 refused.",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(http_request_duration_seconds_count{{{PLACING}}}[1m]))"},
            runbook="ordererrorsburnfast",
        ),
        Panel(
            "Budget burn over an hour",
            "1 uses up the month's budget in a month: 0.1 % of orders may fail, 1 % may take longer than a second.",
            "none",
            {
                "errors": "valerix:order_errors:ratio_rate1h / 0.001",
                "slow": "valerix:order_slow:ratio_rate1h / 0.01",
            },
            limit=14.4,
            runbook="ordererrorsburnfast",
        ),
        Panel(
            "From acceptance to the answer",
            "The 95th percentile by what was answered, without HTTP.",
            "s",
            {
                "{{status}}": "histogram_quantile(0.95, sum by (le, status)"
                " (rate(order_processing_duration_seconds_bucket[1m])))"
            },
        ),
        Panel(
            "Idempotency",
            "Repeats answered from Redis, keys that Redis did not know, and repeats refused by why.",
            "reqps",
            {
                "from Redis": "sum(rate(idempotency_cache_hits_total[1m]))",
                "not in Redis": "sum(rate(idempotency_cache_misses_total[1m]))",
                "refused, {{kind}}": "sum by (kind) (rate(idempotency_conflicts_total[1m]))",
            },
            runbook="idempotencyconflictsurge",
        ),
        Panel(
            "Audit",
            "Invariants that the latest audit saw broken: always 0.",
            "none",
            {"broken": "max(audit_broken_invariants)"},
            kind="stat",
            limit=1,
            runbook="auditfailed",
        ),
    ],
    "The queue": [
        Panel(
            "Orders that wait",
            "Unfinished and in nobody's hands, and those that need an operator.",
            "none",
            {"waiting": "max(order_queue_depth)", "dead": "max(orders_dead)"},
            runbook="deadorders",
        ),
        Panel(
            "Age of the oldest",
            "More than a minute is a backlog.",
            "s",
            {"oldest": "max(order_queue_oldest_age_seconds)"},
            limit=60,
            runbook="queuebacklog",
        ),
        Panel(
            "Worker's last look",
            "How long ago a worker last looked for work.",
            "s",
            {"ago": 'min(worker_last_heartbeat_age_seconds{service="worker"})'},
            limit=30,
            runbook="workerdead",
        ),
        Panel(
            "Calls to inventory",
            "By how they ended; rejected by an open breaker included.",
            "reqps",
            {"{{outcome}}": "sum by (outcome) (rate(circuit_breaker_calls_total[1m]))"},
        ),
        Panel(
            "Changes of the breaker",
            "Transitions within five minutes. Openings between two scrapes are seen here only.",
            "none",
            {"{{from}} to {{to}}": "sum by (from, to) (increase(circuit_breaker_transitions_total[5m]))"},
            runbook="breakerflapping",
        ),
        Panel(
            "Ledger",
            "Lines that inventory writes a second.",
            "reqps",
            {"{{type}}": "sum by (type) (rate(inventory_transactions_total[1m]))"},
        ),
    ],
    "Inside": [
        Panel(
            "Group commit",
            "Items that share one commit, on average, by step.",
            "none",
            {
                "{{service}} {{step}}": "sum by (service, step) (rate(group_commit_batch_size_sum[1m]))"
                " / (sum by (service, step) (rate(group_commit_batch_size_count[1m])) > 0)"
            },
        ),
        Panel(
            "Waiting for a database connection",
            "The 95th percentile.",
            "s",
            {"{{instance}}": "histogram_quantile(0.95, sum by (instance, le) (rate(db_pool_wait_seconds_bucket[1m])))"},
            limit=0.1,
            runbook="poolsaturation",
        ),
        Panel(
            "Requests in flight",
            "A histogram counts requests that have ended; these have not.",
            "none",
            {"{{instance}}": "max by (instance) (http_requests_in_flight)"},
        ),
        Panel(
            "Memory",
            "Resident, of each process.",
            "bytes",
            {"{{instance}}": f"max by (instance) (process_resident_memory_bytes{{{OURS}}})"},
        ),
        Panel(
            "CPU",
            "Cores that each process uses.",
            "none",
            {"{{instance}}": f"sum by (instance) (rate(process_cpu_seconds_total{{{OURS}}}[1m]))"},
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """Return the whole dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": place, "id": len(panels) + 1})
        top += 1
        for number, panel in enumerate(row):
            place = {"h": HEIGHT, "w": WIDTH, "x": number * WIDTH % 24, "y": top + number * WIDTH // 24 * HEIGHT}
            panels.append(_panel(panel, place, len(panels) + 1))
        top += -(-len(row) * WIDTH // 24) * HEIGHT
    return {
        "uid": "valerix",
        "title": "Valerix",
        "description": "Orders, the breaker, the queue, stock and chaos. Made by dashboards/grafana/board.py.",
        "tags": ["valerix"],
        "timezone": "utc",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_DATASOURCE_VARIABLE]},
        "annotations": {"list": []},
        "panels": panels,
    }


_DATASOURCE_VARIABLE = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
}


def _panel(panel: Panel, place: dict[str, int], number: int) -> dict[str, Any]:
    links = [{"title": "Runbook", "url": f"docs/runbook.md#{panel.runbook}"}] if panel.runbook else []
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "links": links,
        "fieldConfig": {"defaults": _shown(panel), "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for at, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _shown(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    shown: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.limit is not None and panel.kind == "timeseries":
        shown["custom"] = {"thresholdsStyle": {"mode": "line+area"}}
    if panel.words:
        meaning = {str(value): {"text": word, "color": colour} for value, (word, colour) in panel.words.items()}
        shown["mappings"] = [{"type": "value", "options": meaning}]
    return shown


def _options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if kind in {"stat", "bargauge"}:
        return {"reduceOptions": {"calcs": ["lastNotNull"]}}
    return {}


def encoded() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    WHERE.write_text(encoded())
