"""Users of a platform's processes when root starts it."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.platform.installation import PATIENCE, can_watch
from tests.processes import eventually, open_directory
from valerix_cli.local.accounts import NUMBERS, accounts
from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.lock import holders
from valerix_cli.local.prometheus import shipped_rules
from valerix_cli.local.stack import Stack, read_stack
from valerix_cli.local.topology import KINDS

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run processes as other users"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process may do"),
]
WATCHERS = {"prometheus", "alertmanager"} if can_watch() else set()
_RUN = "from valerix_cli.main import run; run()"


def open_python() -> Path:
    """Return a Python of this version that every user can run: this one, or the system's."""
    names = [Path(sys.executable).resolve(), Path(f"/usr/bin/python3.{sys.version_info.minor}")]
    for python in names:
        if python.exists() and is_open_to_all(python):
            return python
    pytest.skip(f"no Python 3.{sys.version_info.minor} that every user may run: install Debian's python3")


class Opened:
    """Valerix in an environment that every user can read, with our installed packages."""

    def __init__(self, place: Path) -> None:
        self.state = place / "state"
        self._python = place / "environment" / "bin" / "python"
        make = [str(open_python()), "-m", "venv", "--without-pip", "--symlinks", str(place / "environment")]
        subprocess.run(make, check=True)
        (packages,) = (place / "environment" / "lib").glob("python3.*/site-packages")
        ours = Path(__file__).parents[2]
        # a dependency of redis on a Python older than 3.11.3, missing in newer environments
        (packages / "async_timeout.py").write_text("from asyncio import timeout\n")
        (packages / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ours}\n")

    def __call__(self, *typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._python, "-P", "-c", _RUN, *typed],
            env={"PATH": os.environ["PATH"], "VALERIX_STATE_DIR": str(self.state), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE * 4,
            check=False,
        )

    @property
    def stack(self) -> Stack:
        stack = read_stack(self.state)
        assert stack is not None
        return stack


@pytest.fixture(scope="module", params=["open", pytest.param("closed", marks=pytest.mark.long)])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Valerix with a state directory that other users can traverse, and with one that they cannot."""
    with open_directory("accounts") as place:
        if not is_open_to_all(Path(sysconfig.get_path("purelib")), Path(__file__)):
            pytest.skip("other users may not read what is installed here")
        found = Opened(place)
        if request.param == "closed":
            (place / "closed").mkdir(mode=0o700)
            found.state = place / "closed" / "state"
        more = ["--monitoring"] if WATCHERS else []
        done = found("up", "--detach", "--free-ports", "--replicas", "order=2", *more)
        assert done.returncode == 0, done.stderr
        assert "run as root" not in done.stderr
        yield found
        found("down", "--wipe", "--yes")


def status_field(pid: int, name: str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))


def named(stack: Stack) -> dict[str, int]:
    services = [(one.name, one.pid) for several in stack.services.values() for one in several]
    servers = [(name, one.pid) for name, one in (stack.databases | stack.monitoring).items()]
    return {name: pid for name, pid in [*services, *servers] if pid}


def test_only_the_supervisor_runs_as_root(opened: Opened) -> None:
    """Includes all processes that hold the lock: PostgreSQL's own, and workers of the services."""
    pids = named(opened.stack)
    services = {"order-1", "order-2", "inventory-1", "worker-1", "frontend-1"}
    assert set(pids) == services | {"postgres", "redis"} | WATCHERS
    for pid in holders(opened.state):
        if pid == opened.stack.supervisor_pid:
            continue
        what = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert 0 not in {int(number) for field in ("Uid", "Gid") for number in status_field(pid, field)}, what
        assert status_field(pid, "Groups") == [], what
        assert status_field(pid, "NoNewPrivs") == ["1"], what
        assert int(status_field(pid, "CapEff")[0], 16) == int(status_field(pid, "CapPrm")[0], 16) == 0, what


def test_every_kind_of_process_has_its_own_user(opened: Opened) -> None:
    users = {name: status_field(pid, "Uid")[0] for name, pid in named(opened.stack).items()}
    assert users.pop("order-1") == users["order-2"]
    assert len(set(users.values())) == len(users)


def test_a_service_can_read_only_its_own_secrets(opened: Opened) -> None:
    """Runs as each service's user: the secrets, PostgreSQL's data, Valkey's settings, other processes' environments."""
    pids = named(opened.stack)
    (data,) = (opened.state / "postgres").glob("[0-9]*")
    files = [opened.state / "secrets.json", data / "PG_VERSION", opened.state / "valkey" / "valkey.conf"]
    for name in ("order-1", "inventory-1", "worker-1", "frontend-1", *sorted(WATCHERS)):
        user = int(status_field(pids[name], "Uid")[0])
        others = [Path(f"/proc/{pid}/environ") for other, pid in pids.items() if other[:5] != name[:5]]
        supervisor = Path(f"/proc/{opened.stack.supervisor_pid}/environ")
        for file in [*files, *others, supervisor]:
            tried = subprocess.run(
                ["/bin/cat", file], user=user, group=user, extra_groups=[], capture_output=True, check=False
            )
            assert (tried.returncode, tried.stdout) == (1, b""), f"{name} may read {file}"


def test_prometheus_as_its_own_user_loads_its_rules_and_reaches_alertmanager(opened: Opened) -> None:
    """Prometheus treats a file of rules that it cannot see as missing, without an error."""
    if not WATCHERS:
        pytest.skip("Prometheus is not installed (Debian: prometheus, prometheus-alertmanager)")
    prometheus, manager = (opened.stack.monitoring[name] for name in ("prometheus", "alertmanager"))
    api = f"http://127.0.0.1:{prometheus.port}/api/v1"
    groups = httpx.get(f"{api}/rules", timeout=10).json()["data"]["groups"]
    assert len({group["file"] for group in groups}) == len(shipped_rules())

    def tells() -> bool:
        found = httpx.get(f"{api}/alertmanagers", timeout=10).json()["data"]["activeAlertmanagers"]
        return any(f":{manager.port}/" in one["url"] for one in found)

    eventually(tells, PATIENCE)


def test_a_platform_with_several_users_serves_orders_and_audits(opened: Opened) -> None:
    placed = opened("order", "place", "mouse", "--key", "by-others", "--wait")
    assert placed.returncode == 0, placed.stderr
    pid = named(opened.stack)["frontend-1"]
    user = int(status_field(pid, "Uid")[0])
    environ = dict(
        pair.decode().split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pair
    )
    audited = subprocess.run(
        environ["VALERIX_AUDIT_COMMAND"].split(),
        env=environ,
        cwd=opened.state,
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert audited.returncode == 0, audited.stderr
    assert '"verdict": "clean"' in audited.stdout


def test_users_are_the_same_at_each_start_and_differ_between_platforms() -> None:
    """Two directories may have a number in common, one pair in about 300: so these are not random."""
    roles = [kind.name for kind in KINDS]
    first, again, other = (accounts(Path("/srv") / name, roles) for name in ("one", "one", "two"))
    assert first == again
    assert not {one.uid for one in first.values()} & {one.uid for one in other.values()}
    assert all(one.uid in NUMBERS for one in first.values())
