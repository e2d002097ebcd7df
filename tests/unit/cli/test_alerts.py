"""Alerts as `valerix alerts` shows them."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import httpx
import pytest

from valerix_cli.clients import prometheus
from valerix_cli.clients.prometheus import Alert, Alerting
from valerix_cli.commands.alerts import error_of
from valerix_cli.errors import ExitCode
from valerix_cli.local.prometheus import configuration, shipped_rules
from valerix_cli.local.topology import ORDER, Replica
from valerix_cli.views.alerts import alert_changes, change_line

SINCE = datetime.now(UTC) - timedelta(seconds=90)


def alert(name: str, state: Literal["firing", "pending"] = "firing", **labels: str) -> Alert:
    return Alert(name, state, "warning", SINCE, labels, f"{name} it is", "Because.", f"docs/runbook.md#{name.lower()}")


def test_a_watch_reports_each_change_of_an_alert_once() -> None:
    looks = [
        None,
        [alert("StockLow", "pending", item_id="ps5")],
        [alert("StockLow", item_id="ps5"), alert("StockLow", item_id="xbox")],
        [alert("StockLow", item_id="ps5"), alert("StockLow", item_id="xbox")],
        [alert("StockLow", item_id="xbox")],
        [],
    ]
    result = [
        [(change.labels["item_id"], change.state) for change in alert_changes(before, now or [])]
        for before, now in pairwise(looks)
    ]
    assert result == [
        [("ps5", "pending")],
        [("ps5", "firing"), ("xbox", "firing")],
        [],
        [("ps5", "ended")],
        [("xbox", "ended")],
    ]


def alerting(*rules: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Alerting:
    """Return the alerts that the client parses from a response with these rules."""
    result = json.dumps({"data": {"groups": [{"rules": rules}]}}).encode()
    answers = httpx.MockTransport(lambda _: httpx.Response(200, content=result))
    monkeypatch.setattr(httpx, "Client", lambda **_: Client(transport=answers))
    return prometheus.alerts("http://127.0.0.1:9090")


Client = httpx.Client
STOCK_LOW: dict[str, Any] = {
    "name": "StockLow",
    "health": "ok",
    "alerts": [
        {
            "labels": {"alertname": "StockLow", "severity": "warning", "item_id": "ps5"},
            "annotations": {"summary": "There is little left of ps5"},
            "state": "firing",
            "activeAt": "2026-11-30T12:00:00Z",
        }
    ],
}
DEAD_ORDERS = {"name": "DeadOrders", "health": "ok", "alerts": []}
NEW = {"name": "ServiceDown", "health": "unknown"}
BROKEN = {"name": "HighLatency", "health": "err", "lastError": "many-to-many matching"}


def test_only_alerts_of_evaluated_rules_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = alerting(STOCK_LOW, DEAD_ORDERS, monkeypatch=monkeypatch)
    assert [(one.alert, one.state, one.labels) for one in found.alerts] == [("StockLow", "firing", {"item_id": "ps5"})]
    assert (found.rules, found.silent) == (2, {})
    assert error_of(found) is None


def test_missing_or_unevaluated_rules_are_inconclusive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = error_of(alerting(monkeypatch=monkeypatch))
    assert nothing is not None
    assert (nothing.code, nothing.why) == (ExitCode.INCONCLUSIVE, "this Prometheus has no alerting rules")
    some = error_of(alerting(STOCK_LOW, NEW, BROKEN, monkeypatch=monkeypatch))
    assert some is not None
    assert (some.code, some.what) == (ExitCode.INCONCLUSIVE, "2 of 3 alerting rules cannot be evaluated.")
    assert some.why == "ServiceDown: not evaluated yet; HighLatency: many-to-many matching"


def test_an_alert_line_shows_time_name_state_and_summary() -> None:
    (change,) = alert_changes(None, [alert("DeadOrders")])
    assert change_line(change).endswith("  DeadOrders  firing  DeadOrders it is")


def test_every_process_is_scraped_under_its_name_in_status() -> None:
    fleet = [Replica(ORDER, 1, 3001), Replica(ORDER, 2, 40_000)]
    result = configuration(fleet, shipped_rules(), "127.0.0.1:9093")
    (job,) = result["scrape_configs"]
    assert job["static_configs"] == [
        {"targets": ["127.0.0.1:3001"], "labels": {"service": "order", "instance": "order-1"}},
        {"targets": ["127.0.0.1:40000"], "labels": {"service": "order", "instance": "order-2"}},
    ]
    assert [file.rpartition("/")[2] for file in result["rule_files"]] == ["alerts.yaml", "recording.yaml"]
