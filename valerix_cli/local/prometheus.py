"""Values, files and commands to run Prometheus and Alertmanager beside the platform. Starts no process.

Prometheus monitors every service of the platform by the rules in `dashboards/rules`, as in a cluster.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from valerix_cli import bundled
from valerix_cli.errors import UnreachableError
from valerix_cli.local.damaged_data import set_aside
from valerix_cli.local.launch import Account, Launch
from valerix_cli.local.ownership import as_seen, give, write_anew
from valerix_cli.local.ports import LOOPBACK
from valerix_cli.local.probe import ask
from valerix_cli.local.topology import Replica

SCRAPED_EVERY = "5s"  # a rate over 30 s needs several samples
KEPT_FOR = "7d"
_RULES = bundled.ROOT / "dashboards" / "rules"
_NAMES = {"Prometheus": ("prometheus",), "Alertmanager": ("alertmanager", "prometheus-alertmanager")}


def program(product: str) -> Path:
    """Return the path of `Prometheus` or `Alertmanager` on this machine. Raises UnreachableError."""
    for name in _NAMES[product]:
        if found := shutil.which(name):
            return Path(found)
    raise UnreachableError(
        f"{product} is not installed on this machine.",
        f"--monitoring runs it, and no {' or '.join(_NAMES[product])} is on the path",
        "apt-get install prometheus prometheus-alertmanager, or leave --monitoring away",
    )


def shipped_rules() -> list[Path]:
    """Return the rule files that come with Valerix."""
    return sorted(_RULES.glob("*.yaml"))


@dataclass(frozen=True)
class _Watcher:
    """Common parts of both as a `servers.Server`.

    As root they run as `account`, which then owns `directory`; None is this user.
    """

    program: Path
    directory: Path
    port: int
    account: Account | None = field(default=None, kw_only=True)

    @property
    def stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def on_port(self, port: int) -> Self:
        return replace(self, port=port)

    def making(self) -> Launch | None:
        return None

    def made(self) -> None: ...

    def set_aside(self) -> Path | None:
        """Move its data aside: metrics of some days, and silences, which must not prevent a start."""
        return set_aside(self.directory / "data")

    def answers(self) -> bool:
        answer = ask(f"http://{LOOPBACK}:{self.port}", "/-/ready")
        return answer is not None and answer[0] == 200  # noqa: PLR2004 - HTTP's OK

    def _prepared(self, files: Mapping[str, str]) -> Path:
        """Write the configuration files into its directory, and return the path that it uses for them.

        It is started there and uses relative paths, because Prometheus interprets the path of its rules as a pattern.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in files.items():
            write_anew(self.directory / name, text)
        if self.account:
            give(self.directory, self.account)
        directory = as_seen(self.directory, self.account)
        return Path() if directory == self.directory else directory

    def _launch(self, *options: str) -> Launch:
        return Launch((str(self.program), *options), self.directory, {"PATH": os.defpath}, self.account)


@dataclass(frozen=True)
class Alertmanager(_Watcher):
    """Alertmanager in `directory`, on 127.0.0.1 only; sends alerts to `webhook`, if there is one."""

    webhook: str | None = None
    name: str = "alertmanager"

    def running(self) -> Launch:
        hooks = [{"url": self.webhook, "send_resolved": True}] if self.webhook else []
        settings = {
            "route": {
                "receiver": "webhook",
                "group_by": ["alertname", "service"],
                "group_wait": "1s",
                "group_interval": "5s",
                "repeat_interval": "4h",
            },
            "receivers": [{"name": "webhook", "webhook_configs": hooks}],
        }
        directory = self._prepared({"alertmanager.yaml": _as_yaml(settings)})
        return self._launch(
            f"--config.file={directory / 'alertmanager.yaml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--cluster.listen-address=",  # no cluster
        )


@dataclass(frozen=True)
class Prometheus(_Watcher):
    """Prometheus in `directory`, on 127.0.0.1 only; scrapes `fleet`, alerts the Alertmanager at `alerts_to`."""

    fleet: tuple[Replica, ...]
    alerts_to: str
    rules: tuple[Path, ...] = field(default_factory=lambda: tuple(shipped_rules()))
    name: str = "prometheus"

    def running(self) -> Launch:
        rules = {f"rules-{file.name}": file.read_text() for file in self.rules}
        settings = configuration(self.fleet, map(Path, rules), self.alerts_to)
        directory = self._prepared({"prometheus.yaml": _as_yaml(settings)} | rules)
        return self._launch(
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--storage.tsdb.retention.time={KEPT_FOR}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        )


def configuration(fleet: Iterable[Replica], files: Iterable[Path], alerts_to: str) -> dict[str, Any]:
    """Return Prometheus' configuration. Each process has the name that `valerix status` shows, whatever its port.

    `files` have rules; a relative one lies beside the configuration.
    """
    return {
        "global": {"scrape_interval": SCRAPED_EVERY, "evaluation_interval": SCRAPED_EVERY},
        "rule_files": [str(file) for file in files],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts_to]}]}]},
        "scrape_configs": [
            {
                "job_name": "valerix",
                "static_configs": [
                    {
                        "targets": [f"{LOOPBACK}:{replica.port}"],
                        "labels": {"service": replica.kind.name, "instance": replica.name},
                    }
                    for replica in fleet
                ],
            }
        ],
    }


def _as_yaml(settings: dict[str, Any]) -> str:
    """Return JSON, which is also YAML."""
    return json.dumps(settings, indent=2) + "\n"
