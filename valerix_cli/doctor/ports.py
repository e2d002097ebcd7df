"""Checks of the default ports: free, ours, or in use by another process."""

import re
import sys
from collections.abc import Iterator
from functools import partial

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject
from valerix_cli.local.listeners import holder
from valerix_cli.local.ports import is_free
from valerix_cli.local.stack import Service
from valerix_cli.local.topology import KINDS
from valerix_cli.quoting import command

WANTED = {kind.port: kind.name for kind in KINDS if kind.port}


def check_tasks(setup: Setup) -> list[CheckTask]:
    if setup.directory is None:
        about = Subject("ports", "ports")
        return [CheckTask(about, lambda: [about.skipped(setup.elsewhere)], "valerix doctor --context local")]
    return [
        CheckTask(Subject("ports", str(port)), partial(_task, setup, port), _who_listens(port))
        for port in sorted(WANTED)
    ]


def _task(setup: Setup, port: int) -> Iterator[Finding]:
    services = [one for several in setup.stack.services.values() for one in several] if setup.stack else []
    expected = next((one for one in services if one.port == port), None)
    elsewhere = next((one for one in services if one.name == f"{WANTED[port]}-1"), None)
    if is_free(port):
        yield evaluate_free(port, expected)
    else:
        yield evaluate_taken(port, holder(port), expected, elsewhere)


def evaluate_free(port: int, expected: Service | None) -> Finding:
    about = Subject("ports", str(port))
    if expected:
        return about.warning(
            f"Nothing listens, although {expected.name} should.", command("valerix logs", expected.name)
        )
    return about.ok(f"Free for {WANTED[port]}.")


def evaluate_taken(port: int, who: str | None, expected: Service | None, elsewhere: Service | None) -> Finding:
    """Evaluate a port in use. `who` is "python3 (pid 4711)" or None; `elsewhere` is the process that lacks the port."""
    about = Subject("ports", str(port))
    pid = _pid(who)
    if expected and (pid is None or pid == expected.pid):
        return about.ok(f"{expected.name} listens.")
    holding = f"{who or 'A process that cannot be named'} holds it"
    hint = f"kill {pid} frees the port" if pid else _who_listens(port)
    if expected:
        return about.failed(f"{holding}, so {expected.name} cannot listen on it.", hint)
    if elsewhere:
        return about.warning(f"{holding}; {elsewhere.name} listens on {elsewhere.port}.", f"valerix status; {hint}")
    return about.warning(f"{holding}; `valerix up` uses another port for {WANTED[port]}.", hint)


def _pid(who: str | None) -> int | None:
    found = re.search(r"\(pid (\d+)\)$", who or "")
    return int(found[1]) if found else None


def _who_listens(port: int) -> str:
    on_linux, elsewhere = f"sudo ss -ltnp 'sport = :{port}'", f"sudo lsof -nP -iTCP:{port} -sTCP:LISTEN"
    return on_linux if sys.platform == "linux" else elsewhere
