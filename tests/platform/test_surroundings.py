"""Environment of a platform's processes, compared with that of the user who started it."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.platform.installation import Installation, installed
from valerix_cli import bundled
from valerix_cli.local.environment import NAMES, PREFIXES, forget_libpq
from valerix_cli.local.lock import holders

LIBPQ = {one.envvar.decode() for one in psycopg.pq.Conninfo.get_defaults() if one.envvar} | {
    *("PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGREALM")
}
"""Variables that this libpq reads according to its own list, and others from its manual."""
POISON = (
    dict.fromkeys(LIBPQ, "poisoned.invalid")
    | {"PGPORT": "1", "PGSSLMODE": "require", "PGCONNECT_TIMEOUT": "1", "PGTARGETSESSIONATTRS": "standby"}
    | {"PGSERVICE": "nosuch", "PGOPTIONS": "-c default_transaction_read_only=on", "PGHOSTADDR": "127.0.0.9"}
    | {f"SECRET_{number}": "poisoned" for number in range(300)}
    | dict.fromkeys(
        ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "KUBECONFIG", "SSH_AUTH_SOCK", "HOME", "PYTHONPATH"), "poisoned"
    )
    | dict.fromkeys(("PYTHONSTARTUP", "PYTHONUSERBASE", "BASH_ENV", "REDISCLI_AUTH"), "/poisoned")
    | {"HTTP_PROXY": "http://poisoned.invalid", "HTTPS_PROXY": "http://poisoned.invalid", "MALLOC_CONF": "x"}
    | {"VALERIX_OPERATOR_TOKEN": "poisoned-poisoned-poisoned", "VALERIX_CRASH_AT": "after-accept"}
)
TOLD = ("VALERIX_", "AUDIT_ORDER_DATABASE", "AUDIT_INVENTORY_DATABASE", "PYTHONPATH")
ROOT = str(bundled.ROOT)


@pytest.fixture(scope="module")
def poisoned() -> Iterator[Installation]:
    with installed(environment=POISON) as found:
        found.up("--free-ports", "--replicas", "order=2")
        yield found


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)


def children(installation: Installation) -> dict[str, int]:
    """Return every process of the supervisor, by name."""
    stack = installation.stack
    services = [(one.name, one.pid) for several in stack.services.values() for one in several]
    servers = [(name, one.pid) for name, one in (stack.databases | stack.monitoring).items()]
    return {name: pid for name, pid in [*services, *servers] if pid}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux tells a process's environment")
def test_a_process_gets_only_required_variables_of_the_callers_environment(poisoned: Installation) -> None:
    named = children(poisoned)
    assert set(named) == {"order-1", "order-2", "inventory-1", "worker-1", "frontend-1", "postgres", "redis"}
    for pid in holders(poisoned.directory):
        environ = environ_of(pid)
        extra = {name for name in environ if name not in NAMES and not name.startswith((*PREFIXES, *TOLD))}
        assert extra == set(), (pid, Path(f"/proc/{pid}/cmdline").read_bytes())
        assert environ.get("PYTHONPATH", ROOT) == ROOT or pid not in named.values()
        assert pid not in named.values() or not [value for value in environ.values() if "poisoned" in value]
    for server in ("postgres", "redis"):
        assert set(environ_of(named[server])) <= {"PATH", "LC_ALL", "TZ"}


def test_no_libpq_variable_changes_a_connection_of_any_process(poisoned: Installation) -> None:
    assert poisoned.place("poisoned").status_code == 201
    for command in (["audit"], ["doctor"], ["status"], ["order", "list"], ["audit", "--repair", "--yes"]):
        done = poisoned.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_free_ports_avoids_the_default_ports(poisoned: Installation) -> None:
    """The platform was started with `--free-ports`."""
    assert not {poisoned.service(name).port for name in ("order-1", "inventory-1", "frontend-1")} & {3000, 3001, 3002}


def test_every_libpq_variable_is_removed() -> None:
    environ = dict.fromkeys(LIBPQ, "x") | {"PATH": "/bin", "VALERIX_TIMEOUT": "2s"}
    forget_libpq(environ)
    assert set(environ) == {"PATH", "VALERIX_TIMEOUT"}


def test_the_dashboard_audits_without_the_secrets_of_the_platform(poisoned: Installation) -> None:
    """Runs the audit with the command, environment and directory of the frontend."""
    environ = environ_of(children(poisoned)["frontend-1"])
    assert "VALERIX_STATE_DIR" not in environ
    done = subprocess.run(
        shlex.split(environ["VALERIX_AUDIT_COMMAND"]),
        env=environ,
        cwd=poisoned.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"verdict": "clean"' in done.stdout
