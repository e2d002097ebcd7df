"""Options that name an output file: an existing file of another kind stays unchanged."""

import inspect
import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperOption

from tests.processes import open_directory
from valerix_cli import main
from valerix_cli.errors import BadUsageError
from valerix_cli.journal import JournalReader, JournalWriter

NOBODY = 65534
WRITES = {  # option: what is typed before it
    ("order place", "--journal"): ["order", "place", "mouse"],
    ("load", "--journal"): ["load", "--for", "1s"],
    ("drill run", "--junit"): ["drill", "run", "slow-inventory"],
    ("drill run", "--html"): ["drill", "run", "slow-inventory"],
    ("drill run", "--md"): ["drill", "run", "slow-inventory"],
    ("demo", "--record"): ["demo", "--auto"],
    ("drill init", "FILE"): ["drill", "init"],
}
ELSEWHERE = {
    ("drill replay", "--junit"): "as drill run, by the same function",
    ("drill replay", "--html"): "as drill run, by the same function",
    ("drill replay", "--md"): "as drill run, by the same function",
    ("demo", "--stills"): "a directory: see below",
    ("audit", "--journal"): "it is read",
    ("context trust", "FILE"): "it is read",
    ("context untrust", "FILE"): "it is not even read",
}

FOREIGN: dict[str, bytes] = {
    "a text": b"the only copy of my thesis\n",
    "a text without a line's end": b"the only copy of my thesis",
    "JSON lines of something else": b'{"event": "paid", "amount": 12}\n{"event": "paid", "amount": 13}\n',
    "JSON without a line's end": b'{"event": "paid", "amount": 12}',
    "bytes": bytes(range(256)),
    "XML": b'<?xml version="1.0"?>\n<testsuites name="somebody else"/>\n',
    "a page": b"<!doctype html><html><body>Drill</body></html>\n",
    "Markdown": b"# Drills in the school\n\nAre on Friday.\n",
    "a recording of something else": b'{"version": 1, "width": 80, "height": 24}\n',
    "one byte": b"{",
}


def options() -> Iterator[tuple[str, str]]:
    """Yield every option and argument of every command whose value is a path."""

    def look(group: Any, before: str = "") -> Iterator[tuple[str, str]]:
        for name, lazy in group.commands.items():
            command = lazy.load() if hasattr(lazy, "load") else lazy
            if hasattr(command, "commands"):
                yield from look(command, f"{before}{name} ")
                continue
            takes = inspect.signature(inspect.unwrap(command.callback), eval_str=True).parameters
            for one in command.params:
                if one.name in takes and "pathlib" in str(takes[one.name].annotation):
                    yield f"{before}{name}", one.opts[0] if isinstance(one, TyperOption) else "FILE"

    return look(main.build())


def test_the_tests_cover_every_option_that_takes_a_path() -> None:
    assert set(options()) == set(WRITES) | set(ELSEWHERE)


Typed = Callable[[list[str]], tuple[int, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command in this process; returns its exit status and its stderr."""

    def run(arguments: list[str]) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["valerix", *arguments, "--yes", "--no-input"])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as caught:
                main.run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with open_directory("files") as found:
        monkeypatch.setenv("VALERIX_STATE_DIR", str(found / "nothing-runs"))
        monkeypatch.setenv("VALERIX_CONFIG", str(found / "config.toml"))
        monkeypatch.setenv("VALERIX_RECEIPTS_DIR", str(found / "receipts"))
        monkeypatch.chdir(found)
        yield found


@pytest.mark.parametrize(("command", "option"), WRITES)
def test_a_file_of_another_kind_is_never_overwritten(command: str, option: str, directory: Path, typed: Typed) -> None:
    """Checked before anything else, so that a drill of several minutes is not wasted."""
    for name, content in FOREIGN.items():
        file = directory / "precious"
        for place in (file, directory / "link") if name == "a text" else (file,):
            file.write_bytes(content)
            if place != file:
                place.symlink_to(file)
            arguments = [*WRITES[command, option], *([option] if option != "FILE" else []), str(place)]
            code, printed = typed(arguments)
            assert file.read_bytes() == content, name
            assert (code, "was not overwritten" in printed) == (2, True), f"{name}: {printed}"
            place.unlink()
    assert not (directory / "receipts").exists() or not list((directory / "receipts").iterdir())


@pytest.mark.parametrize(("command", "option"), [one for one in WRITES if one[0] != "drill init"])
def test_a_file_of_another_user_in_a_shared_directory_is_not_written(
    command: str, option: str, directory: Path, typed: Typed
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    shared, mine = directory / "shared", directory / "mine"
    shared.mkdir()
    shared.chmod(0o1777)
    mine.touch()
    (shared / "link").symlink_to(mine)
    os.lchown(shared / "link", NOBODY, NOBODY)
    (shared / "to-nothing").symlink_to(directory / "new")
    os.lchown(shared / "to-nothing", NOBODY, NOBODY)
    (shared / "file").touch()
    os.chown(shared / "file", NOBODY, NOBODY)
    for name in ("link", "to-nothing", "file"):
        code, printed = typed([*WRITES[command, option], option, str(shared / name)])
        assert (code, "was not overwritten" in printed) == (2, True), f"{name}: {printed}"
    assert mine.stat().st_size == (shared / "file").stat().st_size == 0
    assert not (directory / "new").exists()


@pytest.mark.long
@pytest.mark.parametrize(("command", "option"), [one for one in WRITES if one[0] != "drill init"])
@pytest.mark.parametrize("where", ["a directory", "missing/below", "/proc/nothing"])
def test_an_unwritable_path_is_reported_before_anything_is_done(
    where: str, command: str, option: str, directory: Path, typed: Typed
) -> None:
    (directory / "a directory").mkdir()
    code, printed = typed([*WRITES[command, option], option, where])
    assert (code in {2, 3}, len(printed.splitlines()[-3:])) == (True, 3), printed
    assert "bug of its own" not in printed


def test_stills_do_not_replace_other_pictures(directory: Path, typed: Typed) -> None:
    (directory / "stills").mkdir()
    mine = directory / "stills" / "01-calm.svg"
    mine.write_text("<svg>mine</svg>")
    code, printed = typed(["demo", "--auto", "--stills", str(directory / "stills")])
    assert (code, mine.read_text()) == (2, "<svg>mine</svg>"), printed


def _journal(path: Path, *more: bytes) -> bytes:
    path.unlink(missing_ok=True)
    with JournalWriter(path, "test", "prefix-") as journal:
        journal.sent("prefix-1", "mouse", 1)
    with path.open("ab") as file:
        file.writelines(more)
    return path.read_bytes()


@pytest.mark.parametrize("cut", [b"", b"{", b'{"eve', b'{"event":"', b'{"event":"answered","at":"2026-'])
def test_a_journal_is_appended_to_after_its_truncated_line_is_removed(cut: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = _journal(path, cut)
    with JournalWriter(path, "again") as journal:
        journal.sent("prefix-2", "mouse", 1)
    assert path.read_bytes().startswith(before[: len(before) - len(cut)])
    assert len(list(JournalReader(path).entries())) == 4


@pytest.mark.parametrize("tail", [b"my notes", b"\0\0\0", b'{"even more": 1', b"  "])
def test_a_journal_with_foreign_content_is_left_unchanged(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = _journal(path, tail)
    with pytest.raises(BadUsageError, match="followed by other content"):
        JournalWriter(path, "again")
    assert path.read_bytes() == before


def test_a_journal_with_only_a_truncated_first_line_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"event":"began","at":"2026-11-0')
    with JournalWriter(path, "again"):
        assert len(list(JournalReader(path).entries())) == 1


@pytest.mark.parametrize("kind", ["JUNIT", "HTML", "MARKDOWN"])
def test_a_report_replaces_one_of_its_kind_and_can_be_written_to_a_pipe(kind: str, tmp_path: Path) -> None:
    from tests.unit.drills.samples import receipt  # noqa: PLC0415 - next to its only use
    from valerix_cli import files  # noqa: PLC0415 - the same
    from valerix_cli import reports as documents  # noqa: PLC0415 - the same

    made: dict[str, Callable[[], bytes]] = {
        "JUNIT": lambda: documents.junit([receipt()]),
        "HTML": lambda: documents.html([receipt()]).encode(),
        "MARKDOWN": lambda: documents.markdown(receipt()).encode(),
    }
    content, path, pipe = made[kind](), tmp_path / "document", tmp_path / "pipe"
    for _ in range(2):
        files.check(path, getattr(documents, kind))
        files.write(path, content, getattr(documents, kind))
        assert path.read_bytes() == content
    path.write_bytes(content * 3)
    files.write(path, content, getattr(documents, kind))
    assert path.read_bytes() == content, "nothing of the longer one is left"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, content, getattr(documents, kind))
    reader.join(10)
    assert got == [content]
    files.write(Path("/dev/null"), content, getattr(documents, kind))


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_a_recording_replaces_a_recording(tmp_path: Path) -> None:
    from valerix_cli.demo.asciicast import Recording  # noqa: PLC0415 - next to its only use

    path = tmp_path / "demo.cast"
    for text in ("first, and long", "second"):
        with Recording(path, 80, 24, "a demo") as cast:
            cast.output(text)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line[2] for line in lines[1:]] == ["second"]
