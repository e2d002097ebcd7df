"""A real Prometheus and Alertmanager monitor a real platform, before, during and after chaos."""

import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.monitoring.webhook import Webhook, webhook
from tests.platform.installation import Installation, installed
from tests.processes import eventually
from valerix_cli.local import topology
from valerix_cli.local.ports import free_port
from valerix_cli.local.prometheus import Alertmanager, Prometheus, program, shipped_rules
from valerix_cli.local.restart_holds import hold
from valerix_cli.local.servers import running

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and (shutil.which("alertmanager") or shutil.which("prometheus-alertmanager"))),
        reason="Prometheus and Alertmanager are not installed (Debian: prometheus, prometheus-alertmanager)",
    ),
]

BOARD = Path(__file__).parents[2] / "dashboards" / "grafana" / "valerix.json"
FIRES = {"HighLatency", "CircuitBreakerOpen", "QueueBacklog", "ChaosLeftOn"}
SOONER = {"1m": "15s", "2m": "15s", "10m": "10s", "30s": "10s", "15s": "15s"}
"""Shorter durations of alerts' conditions, for tests. Within 15 s Prometheus has scraped all targets."""
AGE, SOON = "> 60", "> 8"  # age of the oldest order, in seconds
SEEDS_CHAOS = '{"latency": true, "latency_ms": 5000, "crash_rate": 0.3, "ttl_seconds": 300}'
EVENTS = {"BreakerFlapping", "OrderLatencyBurnsFast", "OrderLatencyBurnsSlow"}
"""Alerts that the seed's chaos may raise in addition."""


@dataclass(frozen=True)
class Watch:
    """A platform, the Prometheus that monitors it with shorter rules, and the receiver of its alerts."""

    shop: Installation
    prometheus: str
    hook: Webhook

    def ask(self, query: str) -> list[float]:
        """Return the current values of a query, without NaN."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, timeout=10).json()
        assert answer["status"] == "success", answer
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    @property
    def firing(self) -> set[str]:
        found = httpx.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}


def hurried(directory: Path) -> Iterator[Path]:
    """Yield the bundled rules with shorter durations."""
    for file in shipped_rules():
        groups = yaml.safe_load(file.read_text())
        for rule in (rule for group in groups["groups"] for rule in group["rules"]):
            if rule.get("alert") == "QueueBacklog":
                assert AGE in rule["expr"]
                rule["expr"] = rule["expr"].replace(AGE, SOON)
            if "for" in rule:
                rule["for"] = SOONER[rule["for"]]
        copy = directory / file.name
        copy.write_text(yaml.safe_dump(groups))
        yield copy


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A platform started by `valerix up --monitoring`, and a second Prometheus that scrapes more often."""
    place = tmp_path_factory.mktemp("monitoring")
    with ExitStack() as stack:
        hook = stack.enter_context(webhook())
        shop = stack.enter_context(installed(environment={"VALERIX_AUDIT_INTERVAL_SECONDS": "5"}))
        shop.up("--free-ports", "--monitoring", "--replicas", "order=2")
        kinds = {kind.name: kind for kind in topology.KINDS}
        fleet = tuple(
            topology.Replica(kinds[name], number, one.port)
            for name, replicas in shop.stack.services.items()
            for number, one in enumerate(replicas, 1)
        )
        manager = stack.enter_context(
            running(
                Alertmanager(program("Alertmanager"), place / "alertmanager", free_port(), hook.url),
                log=place / "alertmanager.log",
            )
        )
        prometheus = stack.enter_context(
            running(
                Prometheus(
                    program("Prometheus"),
                    place / "prometheus",
                    free_port(),
                    fleet,
                    f"127.0.0.1:{manager.port}",
                    tuple(hurried(place)),
                ),
                log=place / "prometheus.log",
            )
        )
        yield Watch(shop, f"http://127.0.0.1:{prometheus.port}", hook)


def test_alerts_fire_only_under_faults_reach_a_webhook_and_resolve(watch: Watch) -> None:
    watch.shop.json("stock", "restock", "keyboard", "100000", "--key", "plenty")
    calm = watch.shop.json("load", "--rate", "20/s", "--for", "45s", "--item", "keyboard")
    assert calm["outcomes"], calm
    assert watch.firing == set()
    assert watch.hook.received == []
    assert watch.shop.json("alerts") == []
    assert watch.ask("audit_finished_timestamp_seconds > 0"), "the dashboard audits by itself"
    assert watch.shop.json("status")["alerts"] == {"firing": 0, "pending": 0}

    watch.shop.json("api", "POST", "/api/admin/chaos", "--data", SEEDS_CHAOS)
    watch.shop.json("load", "--rate", "20/s", "--for", "60s", "--item", "keyboard")
    eventually(lambda: watch.hook.alerts_with("firing") >= FIRES, 60, "four alerts reach the webhook")
    silent = [
        (panel["title"], target["expr"])
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel.get("targets", ())
        if not watch.ask(target["expr"])
    ]
    assert silent == [], "each query of each panel has data"
    shown = watch.shop.json("alerts")
    assert "CircuitBreakerOpen" in {alert["alert"] for alert in shown if alert["state"] == "firing"}
    assert watch.shop.json("status")["alerts"]["firing"] >= 1

    watch.shop.json("chaos", "off")
    watch.shop.json("load", "--rate", "5/s", "--for", "20s", "--item", "keyboard")
    eventually(lambda: watch.hook.alerts_with("resolved") >= FIRES, 120, "they end, and the webhook hears of it")
    assert watch.hook.alerts_with("firing") <= FIRES | EVENTS
    assert watch.shop.json("audit")["verdict"] == "clean"


def test_a_dead_process_raises_an_alert_until_it_is_back(watch: Watch) -> None:
    (worker,) = watch.shop.stack.services["worker"]
    assert worker.pid is not None
    hold(watch.shop.directory, worker.name, 40)
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: "ServiceDown" in watch.hook.alerts_with("firing"), 60)
    eventually(lambda: "ServiceDown" in watch.hook.alerts_with("resolved"), 90)
