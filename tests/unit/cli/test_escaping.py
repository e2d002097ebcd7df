"""Text from elsewhere is escaped for a terminal, completely, and no output bypasses the escaping."""

import ast
import io
import json
import logging
import sys
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml
from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual.color import Color

from tests.cli.hostile import HOSTILE, MARK, SURROGATE, leaks, writing
from tests.unit.cli.samples import problem
from tests.unit.drills.samples import HELD, receipt
from valerix_cli import reports as documents
from valerix_cli.clients.problems import error_of
from valerix_cli.cluster.model import Readiness
from valerix_cli.console import SafeConsole, live
from valerix_cli.drills.receipt import encode
from valerix_cli.escaping import escape, escape_values, is_safe
from valerix_cli.options import Format
from valerix_cli.output import Output, ask_yes_no, debug, draw, info, print_error, print_result, spinner, warn
from valerix_cli.streams import guard_standard_streams, unguarded
from valerix_cli.top.escaping import SafeText

PACKAGE = Path(__file__).parents[3] / "valerix_cli"
MAY_WRITE = {"output.py", "console.py", "streams.py", "top/app.py", "local/exec_child.py"}
"""`top/app.py` gives Textual a safe console; `local/exec_child.py` is a separate program that writes to a log."""
WRITING = {
    *("print_exception", "print_exc", "echo", "secho", "confirm", "prompt", "input", "unguarded"),
    *("Console", "SafeConsole", "Live", "Progress", "Status"),
}
HARMLESS = {"isatty", "encoding", "fileno"}


@pytest.mark.parametrize("category", ["Cc", "Cf", "Cs", "Co", "Zl", "Zp"])
def test_every_invisible_character_is_escaped(category: str) -> None:
    unsafe = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == category]
    assert unsafe
    assert [char for char in unsafe if is_safe(char) or not escape(char).startswith("\\")] == []


@pytest.mark.parametrize("text", ["PlayStation 5", "naïve 日本語 “x” ½", "[red]", "▁▂▃━┃│…→»", "a\\x1b"])
def test_visible_text_is_unchanged(text: str) -> None:
    assert escape(text) == text


def test_nested_values_are_escaped_and_safe_ones_are_the_same_object() -> None:
    safe = receipt(HELD)
    assert escape_values(safe) is safe
    hostile = msgspec.structs.replace(safe, why=[HOSTILE], versions={HOSTILE: HOSTILE}, text=f"a\nb{MARK}\x1b")
    escaped = escape_values(hostile)
    assert escaped.why == [escape(HOSTILE)]
    assert escaped.versions == {escape(HOSTILE): escape(HOSTILE)}
    assert escaped.text == f"a\nb{MARK}\\x1b"  # its view prints it line by line
    assert escaped.timeline is safe.timeline


@pytest.mark.parametrize("text", [HOSTILE, SURROGATE, "".join(map(chr, range(1, 0x2100)))])
@pytest.mark.parametrize("wanted", [Format.JSON, Format.JSONL, Format.YAML])
def test_documents_keep_the_true_value(text: str, wanted: Format) -> None:
    with writing(terminal=True) as written:
        print_result({"key": [text], text: 1}, str, Output(wanted))
    document = written().replace(b"\r\n", b"\n").decode()
    assert all(is_safe(char) or char == "\n" for char in document)
    assert (yaml.safe_load if wanted is Format.YAML else json.loads)(document) == {"key": [text], text: 1}


def test_only_the_output_module_writes_to_a_terminal() -> None:
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        if (name := file.relative_to(PACKAGE).as_posix()) not in MAY_WRITE:
            wrong += [f"{name}:{line}" for line in writes(ast.parse(file.read_text()))]
    assert wrong == ["demo/renderer.py:110"]  # a console on a StringIO, whose lines are passed to `draw`


def writes(tree: ast.AST) -> list[int]:
    """Return the lines that write, use a standard stream for anything but queries, or pass it on."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                lines.append(node.lineno)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in WRITING:
                lines.append(node.lineno)
            case ast.Attribute(value=value, attr=name) if is_stream(value) and name not in HARMLESS:
                lines.append(node.lineno)
            case ast.keyword(arg="file", value=value) if is_stream(value):
                lines.append(value.lineno)
    return lines


def is_stream(node: ast.AST) -> bool:
    return ast.unparse(node).strip("_") in {f"sys.{name}" for name in ("stdout", "stderr", "__stdout", "__stderr")}


def in_a_thread() -> None:
    def fail() -> None:
        raise ValueError(HOSTILE)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def in_a_live_view() -> None:
    with live(SafeConsole(file=unguarded(sys.stdout), width=2000), auto_refresh=False) as view:
        view.update(Text(HOSTILE), refresh=True)
        print(HOSTILE)  # noqa: T201 - as a library could
        logging.lastResort.handle(logging.makeLogRecord({"msg": HOSTILE, "levelno": logging.ERROR}))  # type: ignore[union-attr]  # it is never None
        info(HOSTILE, Output())


def while_busy() -> None:
    with spinner(HOSTILE, Output()):
        warn(HOSTILE, Output())


def in_markup() -> None:
    console = SafeConsole(file=unguarded(sys.stdout), force_terminal=True, width=2000)
    console.print(HOSTILE, Text(HOSTILE, style=Style(link="https://evil.example")))


PAST: dict[str, Callable[[], object]] = {
    "print": lambda: print(HOSTILE),  # noqa: T201 - the same
    "stderr": lambda: sys.stderr.writelines([HOSTILE, HOSTILE]),
    "thread": in_a_thread,
    "log": lambda: logging.lastResort.handle(logging.makeLogRecord({"msg": HOSTILE, "levelno": logging.ERROR})),  # type: ignore[union-attr]  # it is never None
    "traceback": lambda: sys.__excepthook__(ValueError, ValueError(HOSTILE), None),
    "live view": in_a_live_view,
    "spinner": while_busy,
    "markup": in_markup,
    "messages": lambda: [say(HOSTILE, Output(verbose=True)) for say in (info, warn, debug)],
    "error": lambda: print_error(error_of(problem(HOSTILE, 409, **{HOSTILE: HOSTILE, "item_id": HOSTILE}), HOSTILE)),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("way", PAST)
def test_text_printed_outside_the_output_module_is_escaped(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "2000")
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    with writing(terminal=True) as written:
        guard_standard_streams()
        PAST[way]()
    lines_are_its_own = way not in {"messages", "error"}
    assert leaks(written(), lines=not lines_are_its_own) == []
    assert MARK.encode() in written()


def test_drawn_control_codes_reach_the_terminal_unchanged() -> None:
    with writing(terminal=True) as written:
        guard_standard_streams()
        draw("\x1b[2J")
    assert written() == b"\x1b[2J"


def test_a_prompt_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with writing(terminal=True) as written:
        guard_standard_streams()
        assert ask_yes_no(HOSTILE)
    assert leaks(written()) == []
    assert MARK.encode() in written()


def test_a_line_of_a_screen_keeps_its_width() -> None:
    console = Console(width=40)
    (line,) = console.render_lines(Text("a\x1b[31m\u202eb\u00adc"), console.options)
    (shown,) = [SafeText().apply(line, Color(0, 0, 0))]
    assert sum(segment.cell_length for segment in shown) == 40
    assert all(is_safe(char) for segment in shown for char in segment.text)


@pytest.mark.parametrize("kind", ["html", "markdown", "junit", "json"])
def test_a_receipt_escapes_hostile_text(kind: str) -> None:
    nasty = f"{HOSTILE}<img src=x onerror=alert(1)>|![x](https://evil.example)`"
    hostile = msgspec.structs.replace(
        receipt(HELD),
        description=nasty,
        why=[nasty],
        context=nasty,
        rerun_command=nasty,
        run=nasty,
        outcomes={nasty: 1},
    )
    made = {
        "html": lambda: documents.html([hostile]),
        "markdown": lambda: documents.markdown(hostile),
        "junit": lambda: documents.junit([hostile]).decode(),
        "json": lambda: encode(hostile).decode(),
    }[kind]()
    assert MARK in made
    assert all(is_safe(char) or char == "\n" for char in made)
    if kind != "json":
        assert "<img" not in made
    if kind == "markdown":
        assert "](" not in made.replace(r"\]", "")


def test_a_role_is_escaped_line_by_line() -> None:
    assert escape_values(Readiness("ok", "c", "n", "o", [], "a:\n  b\x1b")).role == "a:\n  b\\x1b"
