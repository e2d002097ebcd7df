"""Damaged, closed or missing files and full disks: disposable files are set aside, others kept, each is reported."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.platform.installation import PATIENCE, Installation, as_another_user, can_watch, installed
from tests.processes import eventually
from valerix_cli.errors import UnreachableError
from valerix_cli.local.logs import last_lines, open_log
from valerix_cli.local.state_directory import prepare


def _files(state: Path, pattern: str) -> list[Path]:
    found = sorted((state / "valkey" / "appendonlydir").glob(pattern))
    assert found
    return found


def _cut(state: Path) -> None:
    for file in _files(state, "*.aof"):
        os.truncate(file, max(0, file.stat().st_size // 2 - 3))


def _garbage_in_the_middle(state: Path) -> None:
    """Inserted at the start of a command: Valkey ignores garbage at the end of a line that holds a number."""
    for file in _files(state, "*.incr.aof"):
        content = file.read_bytes() + b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n" * 40
        middle = content.index(b"\n*", len(content) // 2) + 1
        file.write_bytes(content[:middle] + b"\xff garbage \x00" * 50 + content[middle:])


def _garbage_at_the_end(state: Path) -> None:
    for file in _files(state, "*.incr.aof"):
        file.write_bytes(file.read_bytes() + b"garbage, and more of it\r\n" * 20)


def _garbage_in_the_base(state: Path) -> None:
    for file in _files(state, "*.base.*"):
        file.write_bytes(b"no such format" * 10)


def _manifest(content: bytes) -> Callable[[Path], None]:
    def damage(state: Path) -> None:
        for file in _files(state, "*.manifest"):
            file.write_bytes(content)

    return damage


def _missing_part(state: Path) -> None:
    for file in _files(state, "*.aof"):
        file.unlink()


def _file_instead(state: Path) -> None:
    place = state / "valkey" / "appendonlydir"
    shutil.rmtree(place)
    place.write_text("what is this?")


def _closed(state: Path) -> None:
    for file in [*_files(state, "*"), state / "valkey" / "appendonlydir"]:
        file.chmod(0)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": _cut,
    "garbage in the middle": _garbage_in_the_middle,
    "garbage at the end": _garbage_at_the_end,
    "garbage in the base": _garbage_in_the_base,
    "an empty manifest": _manifest(b""),
    "a manifest of garbage": _manifest(b"\0\1\2 what?\n"),
    "a manifest of another": _manifest(b"file nothing.aof seq 1 type i\n"),
    "parts missing": _missing_part,
    "a file instead of the directory": _file_instead,
    "closed": _closed,
}


@pytest.mark.parametrize(
    "damage",
    [pytest.param(name, marks=() if name == "garbage in the middle" else pytest.mark.long) for name in DAMAGES],
)
def test_a_damaged_append_only_file_is_moved_aside_and_no_order_is_lost(damage: str, platform: Installation) -> None:
    key = f"before-{damage.replace(' ', '-')}"
    placed = platform.place(key)
    assert placed.status_code == 201
    assert platform.run("down").returncode == 0
    DAMAGES[damage](platform.directory)
    output = platform.up().stderr
    again = platform.place(key)
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", placed.json())
    if damage == "garbage in the middle":
        assert "which is only a cache: moved to" in output
    assert len(list((platform.directory / "valkey").glob("appendonlydir.damaged-*"))) <= 3


def test_redis_restarts_empty_when_its_file_is_damaged_while_it_runs(platform: Installation) -> None:
    assert platform.place("before-redis-breaks").status_code == 201
    redis = platform.stack.databases["redis"]
    assert redis.pid
    os.kill(redis.pid, signal.SIGSTOP)
    _garbage_in_the_middle(platform.directory)
    os.kill(redis.pid, signal.SIGKILL)
    eventually(lambda: _restarts(platform) > (redis.restarts or 0) and _state(platform) == "running", PATIENCE)
    assert "moved to" in platform.run("logs", "supervisor", "-n", "20").stdout
    assert platform.place("before-redis-breaks").headers["Idempotent-Replayed"] == "true"


def _restarts(platform: Installation) -> int:
    return platform.stack.databases["redis"].restarts or 0


def _state(platform: Installation) -> str | None:
    return platform.stack.databases["redis"].state


@pytest.mark.long
def test_damaged_data_of_postgresql_is_never_moved_aside(stopped: Installation) -> None:
    stopped.up()
    assert stopped.place("before-postgres-breaks").status_code == 201
    assert stopped.run("down").returncode == 0
    (version,) = (stopped.directory / "postgres").glob("[0-9]*")
    control = version / "global" / "pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"")
    before = sorted(path.name for path in (stopped.directory / "postgres").iterdir())
    try:
        refused = stopped.run("up", "--detach")
        assert refused.returncode == 3
        assert "postgres did not start" in refused.stderr
        assert sorted(path.name for path in (stopped.directory / "postgres").iterdir()) == before
    finally:
        control.write_bytes(kept)
    stopped.up()
    assert stopped.place("before-postgres-breaks").headers["Idempotent-Replayed"] == "true"


OF_THE_SERVERS = re.compile(r"(postgres/\d+|valkey/appendonlydir|monitoring/\w+/data|bin)/.+")
"""Files that the servers store and check themselves."""


def _made_into(kind: str, file: Path) -> None:
    if kind == "a directory":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    else:
        file.write_text("")


def _used(state: Path) -> tuple[list[Path], list[Path]]:
    """Return the directories and files of a platform that has run, without those of its servers."""
    found = [path for path in sorted(state.rglob("*")) if not OF_THE_SERVERS.fullmatch(str(path.relative_to(state)))]
    return [path for path in found if path.is_dir()], [path for path in found if path.is_file()]


@pytest.mark.long
def test_a_start_names_any_file_of_the_wrong_kind_in_the_state_directory(stopped: Installation) -> None:
    """Everything that a platform left there, one after the other.

    Opening a pipe would block until the test's timeout.
    """
    stopped.up(*(["--monitoring"] if can_watch() else []))
    assert stopped.run("down").returncode == 0
    directories, files = _used(stopped.directory)
    assert {"lock", "secrets.json", ".valerix-state", "order-1.log", "valkey.conf"} <= {file.name for file in files}
    (stored,) = stopped.directory.glob("postgres/[0-9]*/postgresql.conf")
    wrong = [(file, kind) for file in files for kind in ("a directory", "a pipe")]
    wrong += [(directory, kind) for directory in directories for kind in ("a file", "a pipe")]
    for path, kind in [*wrong, (stored, "a pipe")]:
        if OF_THE_SERVERS.fullmatch(f"{path.relative_to(stopped.directory)}/x") and kind == "a file":
            continue  # the servers report it, or it is set aside
        aside = stopped.directory / "aside"
        path.rename(aside)
        try:
            _made_into(kind, path)
            with pytest.raises(UnreachableError) as refused:
                prepare(stopped.directory)
            assert str(path) in refused.value.what + refused.value.why, f"{path} as {kind}: {refused.value}"
        finally:
            path.rmdir() if path.is_dir() else path.unlink()
            aside.rename(path)
    prepare(stopped.directory)


_EACH_CLOSED = """
import sys
from pathlib import Path
from valerix_cli.errors import UnreachableError
from valerix_cli.local.state_directory import prepare
state = Path(sys.argv[1])
for name in sys.argv[2:]:
    mode = (state / name).stat().st_mode
    (state / name).chmod(0)
    try:
        prepare(state)
    except UnreachableError as error:
        print(error.why)
    else:
        print("nothing was wrong with", name)
    (state / name).chmod(mode)
prepare(state)
"""


def test_a_start_names_any_unreadable_file_in_the_state_directory() -> None:
    names = ["lock", "secrets.json", "logs/order-1.log", "logs/supervisor.log.1", "logs", "valkey", "postgres", "holds"]
    with installed(**as_another_user()) as found:
        become = found.account
        prepare(found.directory)
        for name in names:
            (found.directory / name).parent.mkdir(exist_ok=True)
            (found.directory / name).touch() if "." in name or name == "lock" else (found.directory / name).mkdir(
                exist_ok=True
            )
        if become:
            for path in [found.directory, *found.directory.rglob("*")]:
                os.chown(path, become.uid, become.gid)
        tried = subprocess.run(
            [*found.prefix, sys.executable, "-c", _EACH_CLOSED, found.directory, *names],
            user=become.uid if become else None,
            group=become.gid if become else None,
            extra_groups=[] if become else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert tried.returncode == 0, tried.stderr
        assert tried.stdout.splitlines() == [f"{found.directory / name}: permission denied" for name in names]


@pytest.mark.long
@pytest.mark.parametrize("damage", ["a directory", "a pipe", "garbage", "missing"])
def test_unusable_logs_or_secrets_fail_a_start_with_a_three_line_error(damage: str, stopped: Installation) -> None:
    stopped.up()
    assert stopped.run("down").returncode == 0
    file = stopped.directory / ("logs/order-1.log" if damage in {"a directory", "a pipe"} else "secrets.json")
    aside = file.with_name("aside")
    file.rename(aside)
    try:
        if damage in {"a directory", "a pipe"}:
            _made_into(damage, file)
        elif damage == "garbage":
            file.write_text("{")
        refused = stopped.run("up", "--detach")
        assert refused.returncode == 3, refused.stderr
        assert [line[:7] for line in refused.stderr.splitlines()[-3:]] == ["Error: ", "  why: ", "  try: "]
        assert str(file) in refused.stderr or "password" in refused.stderr
        assert stopped.is_gone()
    finally:
        if file.is_dir():
            file.rmdir()
        aside.replace(file)
    stopped.up()


@pytest.mark.parametrize("kind", ["a directory", "a pipe"])
def test_a_log_that_is_not_a_regular_file_is_reported_without_blocking(kind: str, tmp_path: Path) -> None:
    """Also a log replaced while the platform runs, when the directory is not checked."""
    log = tmp_path / "order-1.log"
    _made_into(kind, log)
    read, write, last = partial(open_log, log, "rb"), partial(open_log, log, "ab"), partial(last_lines, log, 3)
    for deed in (read, write, last):
        with pytest.raises(OSError, match=r"order-1\.log"):
            deed()


@pytest.fixture
def small() -> Iterator[Installation]:
    """An installation on a disk of 300 MB; a start needs 200 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with installed() as found:
        parent = found.directory.parent
        mounted = subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs", parent], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield found
        finally:
            found.kill_everything()
            subprocess.run(["/bin/umount", "-l", parent], check=False)


@pytest.mark.long
def test_a_full_disk_gives_a_three_line_error_and_loses_nothing(small: Installation) -> None:
    small.up("--free-ports")
    assert small.place("before-full").status_code == 201
    filler = small.directory / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(2**20))
                file.flush()
        except OSError:
            pass
    assert small.status()["state"] == "running", "status is right although nothing can be written"
    small.run("down")
    assert small.is_gone()
    refused = small.run("up", "--detach", "--free-ports")
    assert refused.returncode == 3
    assert len(refused.stderr.splitlines()[-3:]) == 3
    assert "room" in refused.stderr or "full" in refused.stderr
    assert not list((small.directory / "valkey").glob("*.damaged-*"))
    filler.unlink()
    small.up("--free-ports")
    assert small.place("before-full").headers["Idempotent-Replayed"] == "true"
