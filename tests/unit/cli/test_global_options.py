"""Global options in any position, and imports that --help does not need."""

import subprocess
import sys

import pytest

from valerix_cli.main import TARGETS, build
from valerix_cli.options import Format, GlobalOptions
from valerix_cli.session import Session
from valerix_cli.typer_app import Command


@pytest.mark.parametrize(
    "typed",
    [
        ["-o", "json", "order", "list"],
        ["order", "-o", "json", "list"],
        ["order", "list", "-o", "json"],
        ["-o", "yaml", "order", "list", "--output", "json"],
    ],
)
def test_a_global_option_applies_at_any_position_and_the_last_one_wins(
    typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[GlobalOptions] = []
    monkeypatch.setattr(Command, "invoke", lambda _, ctx: seen.append(ctx.obj.options))
    build().main(typed, prog_name="valerix", standalone_mode=False, obj=Session())
    assert [options.output for options in seen] == [Format.JSON]


def test_help_imports_no_command_and_no_slow_library() -> None:
    slow = ["rich", "httpx", "msgspec", "yaml", "valerix_cli.settings", "valerix_cli.clients"]
    code = (
        "import sys; from valerix_cli.main import build\n"
        "build().main(['--help'], prog_name='valerix', standalone_mode=False)\n"
        f"print([name for name in {slow!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert all(target.name in done.stdout for target in TARGETS)
