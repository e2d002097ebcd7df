"""Recipients of tokens: never a server that a project file names, a plain http URL, a proxy, or a redirect's target."""

import io
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.hostile import Server, on_a_terminal
from tests.cli.test_hostile_output import COMMANDS, run
from valerix_cli.errors import ExitCode

pytestmark = pytest.mark.usefixtures("closed_clients")

SENDS: dict[str, list[str]] = {
    "order list": [],
    "order place": ["ps5"],
    "order trace": ["00000000-0000-0000-0000-000000000001"],
    "stock list": [],
    "stock restock": ["ps5", "1"],
    "chaos status": [],
    "chaos on": ["crash"],
    "breaker status": [],
    "queue status": [],
    "load": ["--for", "50ms", "--rate", "20/s", "--item", "ps5"],
    "api": ["GET", "/api/orders"],
    "doctor": ["--timeout", "1s"],
}
"""Commands that between them use every client that sends a token."""
SECRET = "s3cret"


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    made = Server(), Server()
    for one in made:
        one.text = "x"
    yield made
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("VALERIX_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("VALERIX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("VALERIX_PROJECT_TOKEN", SECRET)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def config(url: str, more: str = 'operator_token = "s3cret"') -> str:
    return f'context = "there"\n[contexts.there]\norder = ["{url}"]\ninventory = ["{url}"]\n{more}\n'


def typed(command: str, *more: str) -> tuple[int | str, str]:
    code, written = run([*command.split(), *SENDS.get(command, []), "--yes", *more], terminal=False)
    return code, written.decode()


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "VALERIX_PROJECT_TOKEN"])
@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"up", "context trust"}))
def test_an_untrusted_project_sends_no_request_anywhere(
    command: str, variable: str, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, _ = servers
    Path("valerix.toml").write_text(config(theirs.url, f'operator_token_env = "{variable}"'))
    monkeypatch.setattr("valerix_cli.polling.time.sleep", lambda _: sys.exit(0))
    run([*command.split(), *SENDS.get(command, [])], terminal=False)
    code, output = typed(command, "--context", "there") if command in SENDS else (ExitCode.GUARD, "was not used")
    assert (code, "was not used" in output) == (ExitCode.GUARD, True)
    assert theirs.requests == []


def test_an_untrusted_project_is_reported_once_with_its_settings(servers: tuple[Server, Server]) -> None:
    theirs, _ = servers
    Path("valerix.toml").write_text(config(theirs.url, 'operator_token_env = "VALERIX_PROJECT_TOKEN"'))
    _, output = typed("context list")
    (line,) = [line for line in output.splitlines() if "Ignored" in line]
    for word in (theirs.url, "context = there", "VALERIX_PROJECT_TOKEN", "valerix context trust"):
        assert word in line
    assert SECRET not in output


def test_a_project_is_trusted_after_confirmation_until_it_changes(servers: tuple[Server, Server]) -> None:
    theirs, others = servers
    file = Path("valerix.toml")
    file.write_text(config(theirs.url, 'operator_token_env = "VALERIX_PROJECT_TOKEN"'))
    code, refusal = run(["context", "trust"], terminal=False)
    assert (code, b"confirmation is impossible" in refusal) == (ExitCode.GUARD, True)
    with on_a_terminal(["-m", "valerix_cli", "context", "trust"], (120, 40)) as until:
        asked = until(lambda got: b"?" in got)
        assert theirs.url.encode() in asked
        assert b"Trusted as it is now" in until(lambda got: b"Undo" in got, b"y\n")
    assert typed("order list")[0] == 0
    assert set(theirs.tokens) == {f"Bearer {SECRET}"}

    _, origins = typed("context show", "--origins", "-o", "json")
    assert {"project", "trusted project"} < {row["setting"] for row in json.loads(origins)}

    seen = len(theirs.requests)
    file.write_text(file.read_text().replace(theirs.url, others.url))
    _, output = typed("context show")
    assert "it has changed since it was trusted" in output
    assert typed("order list", "--context", "there")[0] == ExitCode.GUARD
    assert (len(theirs.requests), others.requests) == (seen, [])

    file.write_text(file.read_text().replace(others.url, theirs.url))
    assert typed("order list", "--context", "there")[0] == 0
    assert typed("context untrust")[0] == 0
    assert typed("order list", "--context", "there")[0] == ExitCode.GUARD


def test_a_trusted_project_does_not_replace_the_users_context(tmp_path: Path, servers: tuple[Server, Server]) -> None:
    theirs, mine = servers
    (tmp_path / "config.toml").write_text(config(mine.url))
    Path("valerix.toml").write_text(config(theirs.url, 'operator_token = "theirs"'))
    _, output = typed("context trust")
    assert "Your own context there stays as it is" in output
    assert typed("order list")[0] == 0
    assert theirs.requests == []
    assert set(mine.tokens) == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("command", SENDS)
def test_a_token_is_sent_to_this_machine_and_elsewhere_only_if_configured(
    command: str, tmp_path: Path, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, _ = servers
    (tmp_path / "config.toml").write_text(config(there.url))
    typed(command)
    assert set(there.tokens) == {f"Bearer {SECRET}"}

    there.requests.clear()
    elsewhere = there.url.replace("127.0.0.1", "orders.example")
    _resolve(monkeypatch, "orders.example")
    (tmp_path / "config.toml").write_text(config(elsewhere))
    code, output = typed(command)
    assert (code, there.requests) == (ExitCode.GUARD, [])
    assert f"{elsewhere} is neither https nor this machine" in output
    assert "allow_plain_http" in output

    typed(command, "--insecure-token")
    assert set(there.tokens) == {f"Bearer {SECRET}"}
    there.requests.clear()
    (tmp_path / "config.toml").write_text(config(elsewhere, 'operator_token = "s3cret"\nallow_plain_http = true'))
    typed(command)
    assert set(there.tokens) == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("command", [*SENDS, "alerts"])
def test_redirects_and_proxies_are_not_used(
    command: str, tmp_path: Path, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, other = servers
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, other.url)
        monkeypatch.setenv(variable.lower(), other.url)
    (tmp_path / "config.toml").write_text(config(there.url))
    more = ["--prometheus", there.url] if command == "alerts" else []
    typed(command, *more)
    assert there.requests
    there.requests.clear()
    there.location = other.url
    typed(command, *more)
    assert there.requests
    assert other.requests == []


def test_a_password_in_the_prometheus_url_is_neither_sent_unencrypted_nor_shown() -> None:
    code, output = typed("alerts", "--prometheus", "http://me:s3cret@192.0.2.1:9090")
    assert code == ExitCode.GUARD
    assert SECRET not in output


def _resolve(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make `name` resolve to this machine, which stands in for another."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host in {name, name.encode()} else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
