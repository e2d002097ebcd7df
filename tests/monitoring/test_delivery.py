"""The cluster's Prometheus and Alertmanager configuration, in local processes: which receiver gets which alert."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.monitoring.webhook import Webhook, webhook
from tests.processes import eventually
from valerix_cli.cluster.overlays import MANIFESTS
from valerix_cli.local.launch import Launch
from valerix_cli.local.ports import free_port
from valerix_cli.local.prometheus import Alertmanager, Prometheus, program
from valerix_cli.local.servers import running

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and (shutil.which("alertmanager") or shutil.which("prometheus-alertmanager"))),
        reason="Prometheus and Alertmanager are not installed (Debian: prometheus, prometheus-alertmanager)",
    ),
]

COMPONENT = MANIFESTS / "components" / "monitoring"
RULES = MANIFESTS.parent / "dashboards" / "rules" / "cluster" / "delivery.yaml"
FILL_IN = "https://fill-me-in.invalid/"
RESENT = 120.0  # seconds; alerts that fire before Prometheus has found its Alertmanager are sent again after a minute


@dataclass(frozen=True)
class Configured(Alertmanager):
    """Alertmanager with a given configuration."""

    text: str = ""

    def running(self) -> Launch:
        launch = super().running()
        (self.directory / "alertmanager.yaml").write_text(self.text)
        return launch


@dataclass(frozen=True)
class ByFile(Prometheus):
    """Prometheus with a given configuration."""

    text: str = ""

    def running(self) -> Launch:
        launch = super().running()
        (self.directory / "prometheus.yaml").write_text(self.text)
        return launch


@contextmanager
def watched(place: Path, receivers: str, rules: Path) -> Iterator[str]:
    """Run both with the component's configuration, except for addresses. Yields the URL of Prometheus."""
    port = free_port()
    settings = (COMPONENT / "prometheus.yml").read_text().replace("alertmanager:9093", f"127.0.0.1:{port}")
    settings = settings.replace("/etc/prometheus-rules/*.yaml", f"rules-{rules.name}")
    settings = settings.replace("_interval: 15s", "_interval: 1s")
    with ExitStack() as stack:
        manager = Configured(program("Alertmanager"), place / "alertmanager", port, text=receivers)
        stack.enter_context(running(manager, log=place / "alertmanager.log"))
        prometheus = ByFile(
            program("Prometheus"), place / "prometheus", free_port(), (), f"127.0.0.1:{port}", (rules,), text=settings
        )
        stack.enter_context(running(prometheus, log=place / "prometheus.log"))
        yield f"http://127.0.0.1:{prometheus.port}"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


def test_a_configured_receiver_gets_the_watchdog(tmp_path: Path, hook: Webhook) -> None:
    filled_in = (COMPONENT / "alertmanager.yml").read_text().replace(f"{FILL_IN}alive", hook.url)
    with watched(tmp_path, filled_in, RULES):
        eventually(lambda: "Watchdog" in hook.alerts_with("firing"), within=RESENT)
        assert hook.alerts_with("firing") == {"Watchdog"}


def test_an_unconfigured_receiver_raises_an_alert(tmp_path: Path) -> None:
    """Alertmanager retries until the next notification is due, which takes too long for a test by default."""
    hurried = (COMPONENT / "alertmanager.yml").read_text().replace("group_interval: 1m", "group_interval: 1s")
    with watched(tmp_path, hurried, RULES) as prometheus:

        def firing() -> set[str]:
            found = httpx.get(f"{prometheus}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
            return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

        eventually(lambda: firing() == {"Watchdog", "AlertsNotDelivered"}, within=2 * RESENT)
    assert "fill-me-in.invalid" in (tmp_path / "alertmanager.log").read_text()


def test_a_service_alert_reaches_the_default_receiver(tmp_path: Path, hook: Webhook) -> None:
    """No service is reachable under its name in the cluster, so ServiceDown fires."""
    rules = yaml.safe_load((RULES.parents[1] / "alerts.yaml").read_text())
    [down] = [rule for rule in rules["groups"][0]["rules"] if rule.get("alert") == "ServiceDown"]
    file = tmp_path / "down.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "valerix", "rules": [down | {"for": "1s"}]}]}))
    text = (COMPONENT / "alertmanager.yml").read_text()
    filled_in = text.replace(f"{FILL_IN}alerts", hook.url).replace("group_wait: 30s", "group_wait: 1s")
    with watched(tmp_path, filled_in, file):
        eventually(lambda: "ServiceDown" in hook.alerts_with("firing"), within=RESENT)
