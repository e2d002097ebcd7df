"""A lost terminal, a closed input, undecodable arguments: every command ends as documented."""

import contextlib
import io
import itertools
import os
import pty
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from tests.cli.hostile import SURROGATE, TEXT_ONLY, Server
from tests.cli.test_hostile_output import COMMANDS, directory, filled_in, server
from valerix_cli import main
from valerix_cli.errors import CliError, ExitCode
from valerix_cli.main import build, execute
from valerix_cli.output import ask_yes_no
from valerix_cli.streams import guard_standard_streams
from valerix_cli.typer_app import LazyCommand

__all__ = ["directory", "server"]  # fixtures
pytestmark = pytest.mark.usefixtures("closed_clients")

ASKING = {
    *("order place", "order replay", "load", "stock restock", "context trust"),
    *("chaos on", "chaos off", "chaos halt", "breaker open", "breaker close", "breaker auto", "queue requeue"),
    *("drill run", "api"),
}
"""Commands that ask for confirmation before a local change; cluster commands stop earlier for another reason."""


PLAIN = {"order replay": ["some-key"], "api": ["POST", "/api/orders"]}
"""Arguments of commands whose arguments in COMMANDS are rejected."""


class Terminal:
    """Streams on a terminal, which `leave` closes."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        self._streams: list[TextIO] = []
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while not self._over.is_set():
            if select.select([self._ours], [], [], 0.01)[0]:
                os.read(self._ours, 65536)

    def stream(self) -> TextIO:
        self._streams.append(os.fdopen(os.dup(self._theirs), "w", encoding="utf-8", errors="backslashreplace"))
        return self._streams[-1]

    def leave(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._reader.join()
            os.close(self._ours)

    def close(self) -> None:
        self.leave()
        os.close(self._theirs)
        for stream in self._streams:
            with contextlib.suppress(OSError):  # unread input
                stream.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def bugs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Bugs that commands reported, each as a traceback."""
    found: list[str] = []

    def note(error: Exception) -> CliError:
        found.append("".join(traceback.format_exception(error)[-6:]))
        return tell(error)

    tell = main._bug  # noqa: SLF001 - its output may be lost with the terminal
    monkeypatch.setattr(main, "_bug", note)
    return found


def run(arguments: list[str], out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Run a command and return its exit status; its output goes to a file unless a stream is given."""
    paper = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out or paper), contextlib.redirect_stderr(err or paper):
        guard_standard_streams()
        try:
            return execute(arguments)
        except SystemExit as end:
            return int(end.code or 0)


def at_the_second_look(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Call a function before a watching command's next update, and end the command after two more, as Ctrl-C would."""
    looks = itertools.count(1)

    def sleep(_: float) -> None:
        number = next(looks)
        if number == 1:
            deed()
        elif number > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("valerix_cli.polling.time.sleep", sleep)


@pytest.mark.parametrize("gone", ["from the start", "later"])
@pytest.mark.parametrize("streams", ["stdout", "stderr", "stdout stderr"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_lost_terminal_is_not_reported_as_a_bug(  # noqa: PLR0913, PLR0917 - fixtures
    command: str,
    streams: str,
    gone: str,
    server: Server,
    directory: Path,
    terminal: Terminal,
    bugs: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    at_the_second_look(monkeypatch, terminal.leave)
    if gone == "from the start":
        terminal.leave()
    for typed in COMMANDS[command]:
        out, err = (terminal.stream() if name in streams else None for name in ("stdout", "stderr"))
        code = run([*command.split(), *filled_in(typed, server, directory), "--yes"], out, err)
        assert code in set(ExitCode)
    assert bugs == []


@pytest.mark.parametrize("command", [name for name, ways in COMMANDS.items() if "watch" in f"{name} {ways}"])
def test_a_live_view_exits_as_by_sighup_when_its_terminal_is_lost(
    command: str,
    server: Server,
    directory: Path,
    terminal: Terminal,
    bugs: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    at_the_second_look(monkeypatch, terminal.leave)
    typed = next(one for one in COMMANDS[command] if "watch" in command or "--watch" in one)
    code = run([*command.split(), *filled_in(typed, server, directory)], terminal.stream(), terminal.stream())
    assert (code, bugs) == (ExitCode.HUNG_UP, [])


def test_a_prompt_exits_as_by_sighup_when_its_terminal_is_lost(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = terminal.stream()
    with Path(os.ttyname(out.fileno())).open(encoding="utf-8") as read:
        monkeypatch.setattr(sys, "stdin", read)
        monkeypatch.setattr(sys, "stderr", out)
        terminal.leave()
        with pytest.raises(SystemExit) as end:
            ask_yes_no("Really?")
    assert end.value.code == ExitCode.HUNG_UP


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_closed_input_changes_nothing_without_yes(
    command: str, server: Server, directory: Path, bugs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open(encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stdin", closed)
        at_the_second_look(monkeypatch, lambda: None)
        server.requests.clear()
        ways = [*COMMANDS[command], *([PLAIN[command]] if command in PLAIN else [])]
        codes = [run([*command.split(), *filled_in(typed, server, directory)]) for typed in ways]
    changes = [request[:2] for request in server.requests if request[0] != "GET"]
    assert (changes, bugs) == ([], [])
    assert (ExitCode.GUARD in codes) == (command in ASKING), codes


def taking_text(command: str) -> Iterator[list[str]]:
    """Yield arguments such that each text parameter of each command gets a value that is not UTF-8."""
    found: Any = build()
    for name in command.split():
        found = found.commands[name]
        found = found.load() if isinstance(found, LazyCommand) else found
    given = [TEXT_ONLY if one.param_type_name == "argument" else None for one in found.params]
    arguments = [SURROGATE for one in given if one]
    if arguments:
        yield arguments
    for param in found.get_params(found.context_class(found)):
        if param.param_type_name == "option" and not (param.is_flag or param.is_eager):
            yield [*COMMANDS[command][0], param.opts[0], SURROGATE]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_undecodable_argument_is_not_reported_as_a_bug(
    command: str, server: Server, directory: Path, bugs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell passes a file name in Latin-1 like this: undecodable bytes become surrogates."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.chdir(directory)
    at_the_second_look(monkeypatch, lambda: None)
    codes = {}
    for typed in taking_text(command):
        arguments = [*command.split(), *filled_in(typed, server, directory), "--yes"]
        for wanted in ("table", "json"):
            codes[(*typed, wanted)] = run([*arguments, "-o", wanted])
            assert bugs == [], typed
    assert codes
    assert set(codes.values()) <= set(ExitCode)
