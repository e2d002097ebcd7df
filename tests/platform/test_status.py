"""Output of `valerix status` and `valerix logs`."""

import json
import signal
from pathlib import Path
from typing import Any

from tests.platform.installation import PATIENCE, Installation
from tests.processes import eventually
from valerix_cli.local.logs import rotate


def test_status_reports_a_stopped_platform(stopped: Installation) -> None:
    result = stopped.run("status", "-o", "json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["state"] == "stopped"
    assert result.stderr.splitlines()[-1].startswith("  try: valerix up")


def test_a_watched_status_prints_a_line_per_change(stopped: Installation, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with seen.open("w") as file, stopped.started("status", "--watch", into=file) as watching:
        eventually(lambda: "platform  stopped" in seen.read_text(), PATIENCE)
        stopped.up()
        eventually(lambda: "order-1  running, ok" in seen.read_text(), PATIENCE)
        eventually(lambda: "platform  running" in seen.read_text(), PATIENCE)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE) == 130
    assert len(seen.read_text().splitlines()) < 30


def test_status_lists_every_process_with_its_health(platform: Installation) -> None:
    status = eventually(lambda: _healthy(platform), PATIENCE)
    assert status
    assert status["supervisor_pid"] == platform.stack.supervisor_pid
    assert status["gremlins"] is None
    assert {"order-1", "inventory-1", "worker-1"} <= {service["name"] for service in status["services"]}
    assert {database["kind"] for database in status["databases"].values()} == {"embedded"}
    table = platform.run("status").stdout
    assert platform.service("order-1").url in table


def test_status_shows_live_gremlins(platform: Installation) -> None:
    assert platform.run("chaos", "on", "crash", "--rate", "0", "--ttl", "30s").returncode == 0
    assert platform.status()["gremlins"]["ttl_seconds"] == 30
    assert platform.run("chaos", "off").returncode == 0
    assert platform.status()["gremlins"] is None


def test_logs_are_printed_as_text_or_as_json(platform: Installation) -> None:
    lines = platform.run("logs", "order", "-o", "jsonl", "-n", "200").stdout.splitlines()
    serving = next(line for line in map(json.loads, lines) if line["event"] == "serving")
    assert serving["replica"].startswith("order-")
    assert "order-1  info    serving  host=127.0.0.1" in platform.run("logs", "order-1", "-n", "200").stdout
    unknown = platform.run("logs", "nobody")
    assert unknown.returncode == 2
    assert "supervisor" in unknown.stderr


def test_followed_logs_continue_after_rotation(platform: Installation, tmp_path: Path) -> None:
    log = platform.directory / "logs" / "order-1.log"
    seen = tmp_path / "seen"
    with seen.open("w") as file, platform.started("logs", "order-1", "-f", "-n", "1", "-o", "jsonl", into=file):
        eventually(seen.read_text, PATIENCE)
        assert rotate(log, limit=0)
        with log.open("a") as child:
            child.write('{"event": "after the cut"}\n')
        eventually(lambda: "after the cut" in seen.read_text(), PATIENCE)
    first, second = map(json.loads, seen.read_text().splitlines())
    assert first["replica"] == "order-1"
    assert second == {"event": "after the cut"}


def test_control_characters_in_a_log_are_escaped(platform: Installation) -> None:
    with (platform.directory / "logs" / "order-1.log").open("a") as file:
        file.write(json.dumps({"event": "cleared \x1b[2J", "note": "\x1b]0;title\x07"}) + "\n")
    shown = platform.run("logs", "order-1", "-n", "1").stdout
    assert "cleared \\x1b[2J" in shown
    assert "\x1b" not in shown


def _healthy(platform: Installation) -> dict[str, Any] | None:
    status = platform.status()
    return status if {service["health"]["status"] for service in status["services"]} == {"ok"} else None
