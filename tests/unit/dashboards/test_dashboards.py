"""Rules, alerts and panels query existing metrics; each alert has a runbook entry and tests of all its states."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from services.frontend import app as frontend_app
from services.inventory import app as inventory_app
from services.order import worker

ROOT = Path(__file__).parents[3]
DASHBOARDS = ROOT / "dashboards"
RULES = [*sorted((DASHBOARDS / "rules").glob("*.yaml")), *sorted((DASHBOARDS / "rules").glob("cluster/*.yaml"))]
TESTS = sorted((DASHBOARDS / "tests").glob("*.yaml"))
HEADINGS = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
PROCESSES = (worker, inventory_app, frontend_app)
"""Imported, so that their metrics are registered."""

OF_PROMETHEUS = {"up"}
EXPORTERS: dict[str, dict[str, set[str]]] = {
    "Alertmanager": {"alertmanager_notifications_failed_total": {"integration"}},
    "kube-state-metrics": {
        "kube_service_info": {"namespace", "service"},
        "kube_job_created": {"namespace", "job_name"},
        "kube_job_failed": {"namespace", "job_name", "condition"},
        "kube_cronjob_created": {"namespace", "cronjob"},
        "kube_cronjob_status_last_successful_time": {"namespace", "cronjob"},
        "kube_pod_container_status_restarts_total": {"namespace", "pod", "container"},
    },
    "kubelet": {
        "kubelet_volume_stats_available_bytes": {"namespace", "persistentvolumeclaim"},
        "kubelet_volume_stats_capacity_bytes": {"namespace", "persistentvolumeclaim"},
    },
    "CloudNativePG": {
        "cnpg_pg_replication_lag": set(),
        "cnpg_pg_replication_in_recovery": set(),
        "cnpg_pg_replication_is_wal_receiver_up": set(),
        "cnpg_pg_stat_archiver_last_archived_time": set(),
        "cnpg_pg_stat_archiver_last_failed_time": set(),
    },
    "cert-manager": {"certmanager_certificate_expiration_timestamp_seconds": {"namespace", "name"}},
}
"""Series of third-party exporters that the rules for a cluster use, with their labels."""
promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="promtool is not installed (Debian: prometheus)")


def rules() -> list[dict[str, Any]]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    board = json.loads((DASHBOARDS / "grafana" / "valerix.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def selectors(node: Any) -> Iterator[Any]:
    """Yield every vector selector below a node of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        if (below := getattr(node, name, None)) is not None:
            yield from selectors(below)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def asked_for() -> dict[str, set[str]]:
    """Return each metric of the rules and panels, with the labels that they select by."""
    queries = [rule["expr"] for rule in rules()] + [one["expr"] for panel in panels() for one in panel["targets"]]
    found: dict[str, set[str]] = {}
    for query in queries:
        for selector in selectors(promql_parser.parse(query)):
            labels = {matcher.name for matcher in selector.matchers.matchers}
            found.setdefault(selector.name, set()).update(labels - {"__name__"})
    return found


def exported() -> dict[str, set[str]]:
    """Return the names of all series that a process exports, with their labels."""
    found: dict[str, set[str]] = {}
    for collector in set(REGISTRY._collector_to_names):  # noqa: SLF001 - collect() omits series without samples
        for name in REGISTRY._collector_to_names[collector]:  # noqa: SLF001 - the same
            found[name] = {*getattr(collector, "_labelnames", ()), *(("le",) if name.endswith("_bucket") else ())}
    return found | {name: labels for series in EXPORTERS.values() for name, labels in series.items()}


def test_every_rule_and_panel_uses_exported_metrics_and_labels() -> None:
    known = exported()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = asked_for()
    assert len(asked) > 20
    assert {name for name in asked if name not in known and name not in recorded | OF_PROMETHEUS} == set()
    of_the_scrape = {"service", "instance"}
    for name, labels in asked.items():
        assert labels <= known.get(name, set()) | of_the_scrape, name


def test_every_alert_is_in_the_runbook_and_nothing_else_is() -> None:
    names = list(alerts())
    assert names == HEADINGS


@pytest.mark.parametrize("alert", alerts().values(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_has_a_severity_a_summary_and_a_runbook_link(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ({"none"} if alert["alert"] == "Watchdog" else {"warning", "critical"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_tested_quiet_firing_and_recovered(alert: str) -> None:
    cases = yaml.safe_load((DASHBOARDS / "tests" / f"{alert}.yaml").read_text())["tests"]
    stories = [[bool(look["exp_alerts"]) for look in case["alert_rule_test"]] for case in cases]
    looks = [look for case in cases for look in case["alert_rule_test"]]
    assert {look["alertname"] for look in looks} == {alert}
    if alert == "Watchdog":
        assert stories == [[True, True]]
        return
    assert any(True in story and not story[-1] for story in stories), "it recovers"
    assert any(not story[0] for story in stories), "it is quiet before"


def test_the_runbook_names_the_exporter_of_every_cluster_alert() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    exporters = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    wanted = {}
    for file in (DASHBOARDS / "rules" / "cluster").glob("*.yaml"):
        for rule in yaml.safe_load(file.read_text())["groups"][0]["rules"]:
            if "alert" in rule:
                asked = set(of_series(rule["expr"]))
                wanted[rule["alert"]] = {name for name, series in EXPORTERS.items() if asked & set(series)}
    assert {alert: {name for name in EXPORTERS if name in text_} for alert, text_ in exporters.items()} == wanted


def of_series(expression: str) -> dict[str, bool]:
    """Return the metrics behind an expression, including recording rules; true if it tests for their absence."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    absent = set(re.findall(r"absent\((\w+)", expression))
    found: dict[str, bool] = {}
    for selector in selectors(promql_parser.parse(expression)):
        if selector.name in recorded:
            found |= of_series(recorded[selector.name])
        else:
            found[selector.name] = selector.name in absent
    return found


def has_samples(series: dict[str, str], interval: float, at: float) -> bool:
    """Return True if a series, in promtool's notation, has a sample within Prometheus' lookback of five minutes."""
    samples: list[bool] = []
    for part in series["values"].split():
        value, _, times = part.partition("x")
        samples += [not value.startswith(("_", "stale"))] * (int(times or 0) + (0 if value == "_" and times else 1))
    return any(there and at - 300 <= number * interval <= at for number, there in enumerate(samples))


def seconds_of(text: str) -> float:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_tested_as_quiet_has_samples(alert: str) -> None:
    wanted = of_series(alerts()[alert]["expr"])
    cases = yaml.safe_load((DASHBOARDS / "tests" / f"{alert}.yaml").read_text())["tests"]
    given = {re.split(r"[{ ]", one["series"])[0] for case in cases for one in case["input_series"]}
    assert {name for name, is_absence in wanted.items() if not is_absence} <= given
    for case in cases:
        series = [one for one in case["input_series"] if re.split(r"[{ ]", one["series"])[0] in wanted]
        for look in case["alert_rule_test"]:
            at, interval = seconds_of(look["eval_time"]), seconds_of(case["interval"])
            assert look["exp_alerts"] or any(has_samples(one, interval, at) for one in series), (case["name"], at)


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    ended = subprocess.run(
        [str(promtool), "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
def test_promtool_tests_every_alert_quiet_firing_and_recovered() -> None:
    ended = subprocess.run(
        [str(promtool), "test", "rules", *map(str, TESTS)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_dashboard_file_matches_its_generator() -> None:
    spec = importlib.util.spec_from_file_location("board", DASHBOARDS / "grafana" / "board.py")
    assert spec is not None
    assert spec.loader is not None
    board = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(board)
    assert board.WHERE.read_text() == board.encoded(), "run: python dashboards/grafana/board.py"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_every_panel_has_a_description_a_unit_and_a_data_source(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert {link["url"].partition("#")[2] for link in panel["links"]} <= {heading.lower() for heading in HEADINGS}
