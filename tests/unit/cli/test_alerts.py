"""Alerts as `valerix alerts` shows them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from valerix_cli.clients.prometheus import Alert
from valerix_cli.local.plan import ORDER, Replica
from valerix_cli.local.prometheus import configuration, shipped_rules
from valerix_cli.views.alerts import alert_changes, change_line

SINCE = datetime.now(UTC) - timedelta(seconds=90)


def alert(name: str, state: Literal["firing", "pending"] = "firing", **labels: str) -> Alert:
    return Alert(name, state, "warning", SINCE, labels, f"{name} it is", "Because.", f"docs/runbook.md#{name.lower()}")


def test_a_watch_tells_of_what_begins_fires_and_ends_and_of_nothing_twice() -> None:
    looks = [
        None,
        [alert("StockLow", "pending", item_id="ps5")],
        [alert("StockLow", item_id="ps5"), alert("StockLow", item_id="xbox")],
        [alert("StockLow", item_id="ps5"), alert("StockLow", item_id="xbox")],
        [alert("StockLow", item_id="xbox")],
        [],
    ]
    told = [
        [(change.labels["item_id"], change.state) for change in alert_changes(before, now or [])]
        for before, now in pairwise(looks)
    ]
    assert told == [
        [("ps5", "pending")],
        [("ps5", "firing"), ("xbox", "firing")],
        [],
        [("ps5", "ended")],
        [("xbox", "ended")],
    ]


def test_a_line_says_when_what_and_how() -> None:
    (change,) = alert_changes(None, [alert("DeadOrders")])
    assert change_line(change).endswith("  DeadOrders  firing  DeadOrders it is")


def test_each_process_is_asked_under_the_name_that_status_gives_it() -> None:
    fleet = [Replica(ORDER, 1, 3001), Replica(ORDER, 2, 40_000)]
    told = configuration(fleet, shipped_rules(), "127.0.0.1:9093")
    (job,) = told["scrape_configs"]
    assert job["static_configs"] == [
        {"targets": ["127.0.0.1:3001"], "labels": {"service": "order", "instance": "order-1"}},
        {"targets": ["127.0.0.1:40000"], "labels": {"service": "order", "instance": "order-2"}},
    ]
    assert [file.rpartition("/")[2] for file in told["rule_files"]] == ["alerts.yaml", "recording.yaml"]
