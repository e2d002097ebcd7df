"""No external text controls a terminal: every command, against a hostile server."""

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.cli.hostile import (
    HOSTILE,
    ID,
    MARK,
    SURROGATE,
    TEXT_ONLY,
    Server,
    hostile,
    leaks,
    on_a_terminal,
    strings,
    views,
    writing,
)
from valerix_cli.drills.receipt import Receipt, encode
from valerix_cli.main import build, execute
from valerix_cli.output import Output, print_result
from valerix_cli.streams import guard_standard_streams
from valerix_cli.typer_app import LazyCommand

pytestmark = pytest.mark.usefixtures("closed_clients")

FORMATS = ("table", "json", "jsonl", "yaml")
WAYS = [
    ("shaped", "table", True),
    ("shaped", "table", False),
    ("shaped", "json", True),
    ("shaped", "yaml", True),
    ("problem", "table", True),
    ("known", "table", True),
    ("garbage", "jsonl", True),
]
"""Kinds of response, output format, and whether the output is a terminal."""
_ID = str(ID)

COMMANDS: dict[str, list[list[str]]] = {
    "up": [["--replicas", TEXT_ONLY], ["--alert-webhook", TEXT_ONLY]],
    "down": [["--context", "local"]],
    "status": [["--context", "local"]],
    "top": [[]],
    "dashboard": [[]],
    "logs": [[], [TEXT_ONLY]],
    "alerts": [["--prometheus", "URL"], ["--prometheus", "URL", "--watch"], ["--prometheus", f"http://{TEXT_ONLY}"]],
    "order place": [
        ["ps5"],
        [TEXT_ONLY, "--key", TEXT_ONLY],
        ["ps5", "xbox", "--wait", "--timeout", "10ms"],
        [SURROGATE],
    ],
    "order replay": [[TEXT_ONLY], [TEXT_ONLY, "--mutate", "--item", "ps5:1"]],
    "order get": [[_ID]],
    "order list": [[], ["--item", TEXT_ONLY]],
    "order watch": [[], [_ID]],
    "order trace": [[_ID]],
    "load": [["--for", "50ms", "--rate", "100/s"], ["--key-prefix", TEXT_ONLY], ["--mix", TEXT_ONLY]],
    "stock list": [[]],
    "stock restock": [[TEXT_ONLY, "1", "--key", "k"]],
    "stock watch": [[]],
    "chaos on": [["latency", "--reason", TEXT_ONLY], [TEXT_ONLY]],
    "chaos off": [[]],
    "chaos status": [[], ["--watch"]],
    "chaos hits": [[], [TEXT_ONLY]],
    "chaos halt": [[], ["--resume"]],
    "breaker status": [[], ["--watch"]],
    "breaker history": [[]],
    "breaker open": [[]],
    "breaker close": [[]],
    "breaker auto": [[]],
    "queue status": [[]],
    "queue dead": [[]],
    "queue requeue": [[_ID], ["--all"]],
    "audit": [[], ["--journal", TEXT_ONLY]],
    "drill list": [[], ["--runs"]],
    "drill show": [["last"], [TEXT_ONLY]],
    "drill init": [["DIR/absent/x.yaml"], ["DRILL"]],
    "drill validate": [["DRILL"], ["WRONG_DRILL"], [TEXT_ONLY]],
    "drill run": [["DRILL"], [TEXT_ONLY]],
    "drill replay": [[TEXT_ONLY]],
    "drill compare": [["last", "last"], [TEXT_ONLY, TEXT_ONLY]],
    "demo": [["--auto", "--record", "DIR/absent/x.cast"]],
    "cluster check": [[], ["--context", TEXT_ONLY]],
    "cluster diff": [[]],
    "cluster apply": [[], ["--overlay", TEXT_ONLY]],
    "cluster status": [[]],
    "cluster history": [[]],
    "cluster rollback": [[TEXT_ONLY]],
    "cluster delete": [[]],
    "doctor": [["--timeout", "200ms"]],
    "context list": [[]],
    "context use": [[TEXT_ONLY], ["local"]],
    "context show": [[], ["--origins"]],
    "context trust": [[], [TEXT_ONLY], ["PROJECT"]],
    "context untrust": [[TEXT_ONLY], ["PROJECT"]],
    "api": [["GET", "/api/orders", "-i"], ["GET", TEXT_ONLY], [TEXT_ONLY, "/"], ["GET", "/x", "-H", TEXT_ONLY]],
    "explain": [[], [TEXT_ONLY]],
    "schema": [[], [TEXT_ONLY]],
    "version": [[]],
}
SILENT = {"version", "top"}
"""Commands that show no external text here: `top` draws only on a terminal, and has a separate test."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, LazyCommand):
        command = command.load()
    if not hasattr(command, "commands"):
        yield " ".join(path)
        return
    for name, one in command.commands.items():
        yield from leaves(one, (*path, name))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def directory(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which everything that a command reads is hostile, including names of files and contexts."""
    server.mode, server.text = "shaped", HOSTILE
    place = tmp_path / f"a{TEXT_ONLY.replace('/', '')[:60]}"
    (place / "logs").mkdir(parents=True)
    name = '"' + "".join(f"\\U{ord(char):08x}" for char in HOSTILE) + '"'
    (tmp_path / "config.toml").write_text(
        f"context = {name}\n[contexts.{name}]\norder = ['{server.url}']\ninventory = ['{server.url}']\n"
        "operator_token = 'secret'\n"
        "order_database_env = 'VALERIX_ORDER_DATABASE'\ninventory_database_env = 'VALERIX_INVENTORY_DATABASE'\n"
    )
    lines = [json.dumps({"timestamp": HOSTILE, "level": HOSTILE, "event": HOSTILE, "exception": HOSTILE, HOSTILE: 1})]
    lines += [HOSTILE.replace("\n", "")]
    (place / "logs" / f"order-{MARK}\x1b[31m.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    receipt = msgspec.structs.replace(hostile(Receipt), version=1)
    for run in ("one", "two"):
        (place / "receipts" / f"{run}\x1b[31m{MARK}").mkdir(parents=True)
        (place / "receipts" / f"{run}\x1b[31m{MARK}" / "receipt.json").write_bytes(encode(receipt))
    description = json.dumps(HOSTILE)
    load = "load: {rate: 8/s, for: 1s, items: [monitor]}\n"
    for project in (place, tmp_path / "project"):  # the one that is trusted, and the one that is ignored
        project.mkdir(exist_ok=True)
        (project / "valerix.toml").write_text((tmp_path / "config.toml").read_text().replace("secret", "theirs"))
    (place / "drill.yaml").write_text(f"name: a\ndescription: {description}\n{load}")
    (place / "wrong.yaml").write_text(f"name: {description}\ndescription: x\n{load}{description}: 1\n")
    kube = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": HOSTILE,
        "contexts": [{"name": HOSTILE, "context": {"cluster": HOSTILE, "user": HOSTILE}}],
        "clusters": [{"name": HOSTILE, "cluster": {"server": "http://127.0.0.1:9/" + HOSTILE}}],
        "users": [{"name": HOSTILE, "user": {}}],
    }
    (place / "kubeconfig").write_text(json.dumps(kube))
    for variable, value in {
        "VALERIX_CONFIG": str(tmp_path / "config.toml"),
        "VALERIX_STATE_DIR": str(place),
        "VALERIX_RECEIPTS_DIR": str(place / "receipts"),
        "KUBECONFIG": str(place / "kubeconfig"),
        "VALERIX_ORDER_DATABASE": f"postgresql://{MARK}%1b%5b31m@127.0.0.1:9/x?connect_timeout=1",
        "VALERIX_INVENTORY_DATABASE": f"postgresql://{MARK}%1b%5b31m@127.0.0.1:9/x?connect_timeout=1",
        "COLUMNS": "3000",
        "TERM": "xterm-256color",
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    return place


def run(arguments: list[str], *, terminal: bool) -> tuple[int | str, bytes]:
    """Run a command; return its exit status and its output on both streams."""
    with writing(terminal=terminal) as written:
        guard_standard_streams()
        try:
            code: int | str = execute(arguments)
        except SystemExit as end:
            code = str(end.code)
    return code, written()


def filled_in(arguments: list[str], server: Server, place: Path) -> list[str]:
    known = {
        "URL": server.url,
        "PROJECT": str(place),
        "DRILL": str(place / "drill.yaml"),
        "WRONG_DRILL": str(place / "wrong.yaml"),
    }
    return [known.get(one, one.replace("DIR", str(place))) for one in arguments]


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends watching after two updates, as Ctrl-C would."""
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr("valerix_cli.polling.time.sleep", sleep)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def test_the_tests_cover_every_command() -> None:
    assert set(leaves(build())) == set(COMMANDS)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_text_from_services_is_escaped_in_terminals(
    command: str, server: Server, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, wrong = b"", []
    if command.startswith("context"):
        monkeypatch.chdir("project")
    for typed in COMMANDS[command]:
        arguments = [*command.split(), *filled_in(typed, server, directory), "--yes", "-v"]
        for mode, wanted, terminal in WAYS:
            if command == "api" and not terminal:
                continue  # a pipe gets the body unchanged
            server.mode = mode
            code, written = run([*arguments, "-o", wanted], terminal=terminal)
            seen += written
            if found := leaks(written, lines=command != "api"):
                wrong.append((typed, mode, wanted, terminal, code, found, written[:3000]))
    assert wrong == []
    assert (MARK.encode() in seen) == (command not in SILENT)


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("wanted", FORMATS[1:])
def test_machine_readable_output_keeps_the_true_values(wanted: str, terminal: bool) -> None:  # noqa: FBT001 - a parameter
    _, written = run(["breaker", "history", "-q", "-o", wanted], terminal=terminal)
    document = yaml.safe_load(written) if wanted == "yaml" else json.loads(written)
    assert HOSTILE in set(strings(document))


NASTY = "a b;$(touch pwned) `id` 'x' \\1 \\g<0>"
_COMMANDS = r"^  try: |: (?:valerix|kubectl|export) "


@pytest.mark.long
@pytest.mark.usefixtures("briefly", "directory")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_suggested_command_can_be_pasted_into_a_shell(command: str, server: Server, directory: Path) -> None:
    server.text = NASTY
    for typed in COMMANDS[command]:
        arguments = [NASTY if one == TEXT_ONLY else one for one in filled_in(typed, server, directory)]
        for mode in ("shaped", "known", "garbage"):
            server.mode = mode
            _, written = run([*command.split(), *arguments, "--yes"], terminal=False)
            for line in written.decode().splitlines():
                if hint := re.split(_COMMANDS, line, maxsplit=1)[1:]:
                    assert "$(touch" not in re.sub(r"'(?:[^']|'\"'\"')*'", "", hint[0])


VIEWS = {name: (view, shape) for name, view, shape in views()}


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_escapes_hostile_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "3000")
    monkeypatch.setenv("TERM", "xterm-256color")
    view, shape = VIEWS[name]
    for variant in range(3):
        with writing(terminal=True) as written:
            print_result(hostile(shape, variant=variant), view, Output())
        layout_has_lines = name == "cluster.readiness_view"  # a Role, as YAML
        assert leaks(written(), lines=not layout_has_lines) == []


@pytest.mark.usefixtures("directory")
def test_top_escapes_hostile_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    with on_a_terminal(["-m", "valerix_cli", "top"], (200, 50)) as until:
        until(lambda got: got.count(MARK.encode()) > 20 and b"Orders" in got)
        so_far = len(until(lambda got: b"Enter places it" in got, b"o"))
        until(lambda got: b": confirmed" in got[so_far:], b"\r")  # the result
        until(lambda got: b"The audit could not be finished" in got[so_far:], b"u")
        written = until(lambda _: False, b"q")
    assert leaks(written, lines=False) == []


def test_a_raw_body_is_unchanged_in_a_pipe_and_escaped_in_a_terminal(server: Server, directory: Path) -> None:
    assert directory.exists()
    server.mode = "garbage"
    assert run(["api", "GET", "/x", "-q"], terminal=False)[1] == HOSTILE.encode() + b"\n"
    _, shown = run(["api", "GET", "/x", "-q"], terminal=True)
    assert leaks(shown, lines=False) == []
    assert b"\\x1b]52;c;UFdORUQ=\\x07PWNED" in shown
