"""How Prometheus and Alertmanager are run beside the platform: values, files and commands, no process.

Prometheus watches every service of the platform by the rules in `dashboards/rules`, the very ones that a cluster has.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from valerix_cli.errors import UnreachableError
from valerix_cli.local.aside import set_aside
from valerix_cli.local.launch import Launch
from valerix_cli.local.plan import Replica
from valerix_cli.local.ports import LOOPBACK
from valerix_cli.local.probe import ask

SCRAPED_EVERY = "5s"  # an average over 30 s wants several
KEPT_FOR = "7d"
_RULES = Path(__file__).parents[2] / "dashboards" / "rules"
"""Beside this package, in the repository as in an installation."""
_NAMES = {"Prometheus": ("prometheus",), "Alertmanager": ("alertmanager", "prometheus-alertmanager")}


def program(product: str) -> Path:
    """Where the program of `Prometheus` or `Alertmanager` is on this machine. Raises UnreachableError."""
    for name in _NAMES[product]:
        if found := shutil.which(name):
            return Path(found)
    raise UnreachableError(
        f"{product} is not installed on this machine.",
        f"--monitoring runs it, and no {' or '.join(_NAMES[product])} is on the path",
        "apt-get install prometheus prometheus-alertmanager, or leave --monitoring away",
    )


def shipped_rules() -> list[Path]:
    """The files of rules that come with Valerix."""
    return sorted(_RULES.glob("*.yaml"))


@dataclass(frozen=True)
class _Watcher:
    """What both are to who starts, watches and stops them (`servers.Server`)."""

    program: Path
    directory: Path
    port: int

    @property
    def stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def on_port(self, port: int) -> Self:
        return replace(self, port=port)

    def making(self) -> Launch | None:
        return None

    def made(self) -> None: ...

    def set_aside(self) -> Path | None:
        """Figures of some days, and silences: worth keeping, not worth standing still for."""
        return set_aside(self.directory / "data")

    def answers(self) -> bool:
        answer = ask(f"http://{LOOPBACK}:{self.port}", "/-/ready")
        return answer is not None and answer[0] == 200  # noqa: PLR2004 - HTTP's OK


@dataclass(frozen=True)
class Alertmanager(_Watcher):
    """Alertmanager in `directory`, on 127.0.0.1 only; it tells `webhook`, if there is one, what fires and ends."""

    webhook: str | None = None
    name: str = "alertmanager"

    def running(self) -> Launch:
        hooks = [{"url": self.webhook, "send_resolved": True}] if self.webhook else []
        file = _written(
            self.directory / "alertmanager.yaml",
            {
                "route": {
                    "receiver": "webhook",
                    "group_by": ["alertname", "service"],
                    "group_wait": "1s",
                    "group_interval": "5s",
                    "repeat_interval": "4h",
                },
                "receivers": [{"name": "webhook", "webhook_configs": hooks}],
            },
        )
        return _launch(
            self.program,
            self.directory,
            f"--config.file={file}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--cluster.listen-address=",  # alone
        )


@dataclass(frozen=True)
class Prometheus(_Watcher):
    """Prometheus in `directory`, on 127.0.0.1 only; asks each of `fleet`, tells the Alertmanager at `alerts_to`."""

    fleet: tuple[Replica, ...]
    alerts_to: str
    rules: tuple[Path, ...] = field(default_factory=lambda: tuple(shipped_rules()))
    name: str = "prometheus"

    def running(self) -> Launch:
        file = _written(self.directory / "prometheus.yaml", configuration(self.fleet, self.rules, self.alerts_to))
        return _launch(
            self.program,
            self.directory,
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--storage.tsdb.retention.time={KEPT_FOR}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        )


def configuration(fleet: Iterable[Replica], files: Iterable[Path], alerts_to: str) -> dict[str, Any]:
    """What Prometheus is told. Each process is named as `valerix status` names it, whatever its port."""
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


def _written(file: Path, settings: dict[str, Any]) -> Path:
    """As JSON, which is YAML too."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(json.dumps(settings, indent=2) + "\n")
    return file


def _launch(program: Path, directory: Path, *options: str) -> Launch:
    return Launch((str(program), *options), directory, {"PATH": os.defpath})
