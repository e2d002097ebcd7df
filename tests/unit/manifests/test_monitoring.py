"""Changes of the monitoring components to the base: what is scraped, and where alerts are sent."""

import runpy
import shutil
import subprocess

import pytest
import yaml

from tests.unit.manifests.rendered import base, of_kind, one, with_component
from valerix_cli.cluster.objects import Object
from valerix_cli.cluster.overlays import MANIFESTS

amtool, promtool = shutil.which("amtool"), shutil.which("promtool")

needs_amtool = pytest.mark.skipif(amtool is None, reason="amtool is not installed (Debian: prometheus-alertmanager)")
needs_promtool = pytest.mark.skipif(promtool is None, reason="promtool is not installed (Debian: prometheus)")


def file_of(things: list[Object], name: str) -> str:
    """Return a file from a ConfigMap; fails if none has it, or more than one."""
    [found] = [one_["data"][name] for one_ in of_kind(things, "ConfigMap") if name in one_["data"]]
    return str(found)


def test_prometheus_keeps_seven_days_on_a_volume_and_grafana_has_the_dashboard() -> None:
    things = with_component("monitoring")
    prometheus = one(things, "Deployment", "prometheus")["spec"]
    assert "--storage.tsdb.retention.time=7d" in prometheus["template"]["spec"]["containers"][0]["args"]
    for name in ("prometheus", "grafana", "alertmanager"):
        deployment = one(things, "Deployment", name)["spec"]
        assert deployment["strategy"] == {"type": "Recreate"}  # the volume cannot be mounted twice
        claims = [volume.get("persistentVolumeClaim") for volume in deployment["template"]["spec"]["volumes"]]
        assert {"claimName": name} in claims
    shown = next(one_ for one_ in of_kind(things, "ConfigMap") if one_["metadata"]["name"].startswith("grafana-dash"))
    assert shown["data"]["valerix.json"] == (MANIFESTS.parent / "dashboards/grafana/valerix.json").read_text()


def test_prometheus_scrapes_every_pod_every_fifteen_seconds_with_its_service_label() -> None:
    configuration = yaml.safe_load(file_of(with_component("monitoring"), "prometheus.yml"))
    assert configuration["global"]["scrape_interval"] == "15s"
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    job = jobs["valerix"]
    asked = {(name, one_["port"]) for one_ in job["dns_sd_configs"] for name in one_["names"]}
    headless = {
        (one_["metadata"]["name"], one_["spec"]["ports"][0]["port"])
        for one_ in of_kind(base(), "Service")
        if one_["metadata"]["labels"].get("valerix.dev/each-pod") == "true"
    }
    assert asked == headless
    [instances] = jobs["postgres"]["dns_sd_configs"]
    service = one(with_component("cloudnative-pg"), "Service", instances["names"][0])
    assert service["spec"]["clusterIP"] == "None"
    assert instances["port"] == service["spec"]["ports"][0]["port"] == 9187


def test_prometheus_sends_alerts_to_the_alertmanager_that_it_scrapes() -> None:
    things = with_component("monitoring")
    configuration = yaml.safe_load(file_of(things, "prometheus.yml"))
    service = one(things, "Service", "alertmanager")
    address = f"alertmanager:{service['spec']['ports'][0]['port']}"
    [alertmanager] = configuration["alerting"]["alertmanagers"]
    assert alertmanager["static_configs"] == [{"targets": [address]}]
    assert [address] in [
        entry["targets"] for job in configuration["scrape_configs"] for entry in job.get("static_configs", ())
    ]


def test_an_unconfigured_alert_receiver_fails_instead_of_dropping_alerts() -> None:
    """A missing receiver would drop alerts silently; this one fails, which is logged, counted and raises an alert."""
    settings_ = yaml.safe_load(file_of(with_component("monitoring"), "alertmanager.yml"))
    receivers = {one_["name"]: one_["webhook_configs"] for one_ in settings_["receivers"]}
    routes = [settings_["route"], *settings_["route"]["routes"]]
    assert {route["receiver"] for route in routes} == set(receivers)
    for hooks in receivers.values():
        [hook] = hooks
        assert hook["url"].startswith("https://fill-me-in.invalid/")


@needs_amtool
def test_alertmanager_accepts_its_configuration() -> None:
    file = MANIFESTS / "components" / "monitoring" / "alertmanager.yml"
    done = subprocess.run([str(amtool), "check-config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_its_configuration() -> None:
    file = MANIFESTS / "components" / "monitoring" / "prometheus.yml"
    check = [str(promtool), "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_has_every_rule_whose_metrics_it_scrapes() -> None:
    """The others need exporters of the cluster, which a Prometheus without cluster permissions cannot find."""
    rules = MANIFESTS.parent / "dashboards" / "rules"
    names = {path.name for path in rules.rglob("*.yaml")} - {"kubernetes.yaml"}
    [found] = [
        one_
        for one_ in of_kind(with_component("monitoring"), "ConfigMap")
        if one_["metadata"]["name"].startswith("prometheus-rules-")
    ]
    assert set(found["data"]) == names


def test_the_prometheus_operator_scrapes_every_fifteen_seconds() -> None:
    things = with_component("prometheus-operator")
    [endpoint] = one(things, "ServiceMonitor", "valerix")["spec"]["endpoints"]
    assert endpoint["interval"] == "15s"
    assert {one_["targetLabel"] for one_ in endpoint["relabelings"]} == {"service", "instance"}  # used by the rules
    watched = one(things, "ServiceMonitor", "valerix")["spec"]["selector"]["matchLabels"]
    assert {
        service["metadata"]["labels"]["app.kubernetes.io/name"]
        for service in of_kind(things, "Service")
        if watched.items() <= service["metadata"]["labels"].items()
    } == {"order", "worker", "inventory", "frontend"}


def test_the_prometheus_operator_scrapes_postgres_with_the_labels_of_the_rules() -> None:
    monitor = one(with_component("prometheus-operator"), "ServiceMonitor", "valerix-postgres")["spec"]
    [endpoint] = monitor["endpoints"]
    relabelled = {one_["targetLabel"]: one_.get("replacement") for one_ in endpoint["relabelings"]}
    assert relabelled == {"service": "postgres", "instance": None}
    services = of_kind(with_component("cloudnative-pg"), "Service")
    watched = [
        service["metadata"]["name"]
        for service in services
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    ]
    assert watched == ["postgres-metrics"]


def test_the_prometheus_operator_has_the_latest_rules() -> None:
    """`python dashboards/rules/prometheus_rule.py` generates them."""
    rules = MANIFESTS.parent / "dashboards" / "rules"
    program = runpy.run_path(str(rules / "prometheus_rule.py"))
    assert program["WHERE"].read_text() == program["written"]()
    groups = yaml.safe_load(program["written"]())["spec"]["groups"]
    paths = [*sorted(rules.glob("*.yaml")), *sorted(rules.glob("cluster/*.yaml"))]
    files = [yaml.safe_load(path.read_text())["groups"] for path in paths]
    assert groups == [group for file in files for group in file]
