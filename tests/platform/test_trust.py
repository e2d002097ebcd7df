"""State directories that others could have written, tested with each command.

The list of commands is that of the command line. Each runs in this process, against real files, locks and processes.
"""

import grp
import json
import os
import pwd
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform.bystanders import (
    COMMANDS,
    HOLDER,
    NOBODY,
    READ_IT,
    READ_NOTHING,
    Innocent,
    Typed,
    commands,
    forged,
    only_root,
    process_of,
)
from valerix_cli import main
from valerix_cli.trust import distrust


def test_the_tests_cover_every_command() -> None:
    there = set(commands(main.build()))
    assert there - set(READ_IT) - set(READ_NOTHING) == set()
    assert set(READ_IT) <= there


def _of_another_owner(state: Path) -> Path:
    only_root()
    os.chown(state, NOBODY, NOBODY)
    return state


def _writable_by_all(state: Path) -> Path:
    state.chmod(0o777)
    return state


def _writable_by_all_with_sticky_bit(state: Path) -> Path:
    state.chmod(0o1777)
    return state


def _writable_by_a_group(state: Path) -> Path:
    only_root()
    os.chown(state, 0, NOBODY)
    state.chmod(0o775)
    return state


def _below_one_writable_by_all(state: Path) -> Path:
    state.parent.chmod(0o777)
    return state


def _below_one_of_another_owner(state: Path) -> Path:
    only_root()
    os.chown(state.parent, NOBODY, NOBODY)
    return state


def _behind_a_link_of_another_owner(state: Path) -> Path:
    only_root()
    link = state.parent / "link"
    link.symlink_to(state)
    os.lchown(link, NOBODY, NOBODY)
    return link


def _behind_a_link_through_one_writable_by_all(state: Path) -> Path:
    open_to_all = state.parent / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "link").symlink_to(state)
    (state.parent / "link").symlink_to("open/link")
    return state.parent / "link"


UNTRUSTED = [
    _of_another_owner,
    _writable_by_all,
    _writable_by_all_with_sticky_bit,
    _writable_by_a_group,
    _below_one_writable_by_all,
    _below_one_of_another_owner,
    _behind_a_link_of_another_owner,
    _behind_a_link_through_one_writable_by_all,
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_writable_by_others_is_refused(command: str, typed: Typed, state: Path, innocent: Innocent) -> None:
    """By each command, whatever the permission that allows the write; nothing in it is changed or deleted."""
    (state / "stack.json").write_text(json.dumps(forged(innocent.pid)))
    with process_of(HOLDER, str(state / "lock"), "lock") as holder:
        before = sorted((path.name, path.lstat().st_size) for path in state.iterdir())
        for spoil in UNTRUSTED:
            place, restore = _spoilt(spoil, state)
            if place is None:
                continue
            ended = Typed(place, typed.monkeypatch, typed.capsys)(command)
            restore()
            assert ended.code == (3 if command == "doctor" else 4), f"{spoil.__name__}: {ended.output}"
            assert re.search("not trusted|Others may write", ended.output), ended.output
            if command != "doctor":
                assert [line[:7] for line in ended.output.splitlines()[-3:]] == ["Error: ", "  why: ", "  try: "]
        assert sorted((path.name, path.lstat().st_size) for path in state.iterdir()) == before
        assert holder.poll() is None


def _spoilt(spoil: Callable[[Path], Path], state: Path) -> tuple[Path | None, Callable[[], None]]:
    def restore() -> None:
        for path in (state, state.parent):
            os.chown(path, os.geteuid(), os.getegid())
            path.chmod(0o755)
        (state.parent / "link").unlink(missing_ok=True)
        shutil.rmtree(state.parent / "open", ignore_errors=True)

    try:
        return spoil(state), restore
    except pytest.skip.Exception:
        return None, restore


def test_an_own_directory_is_trusted_under_every_path(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state.parent / "own-link").symlink_to("state")
    monkeypatch.chdir(state)
    for name in (state, state.parent / "own-link", Path(), Path("../state/./../state"), state.parent / "missing"):
        assert distrust(name) is None, name
    state.chmod(0o775)
    assert (distrust(state) is None) == (os.getegid() == state.stat().st_gid and _alone_in_group())


def _alone_in_group() -> bool:
    gid = os.getegid()
    others = {one.pw_uid for one in pwd.getpwall() if one.pw_gid == gid} - {0, os.geteuid()}
    return not others and set(grp.getgrgid(gid).gr_mem) <= {"root", pwd.getpwuid(os.geteuid()).pw_name}
