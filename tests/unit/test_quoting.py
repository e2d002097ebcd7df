"""A value in a shell command, a URL or a settings file is parsed back as the same value."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common import paths
from tests.unit.cli.test_arguments import commands as every_command
from valerix_cli.quoting import command, glob, toml_key, toml_string, word

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for top in ("valerix_cli", "services") for file in (ROOT / top).rglob("*.py"))
HOSTILE = (
    "a b",
    "'",
    '"',
    "$(id)",
    "`id`",
    "a;b",
    "#",
    "~",
    "*",
    "!1",
    "\\",
    "-x",
    "--yes",
    "a\nb",
    "\x1b[31m",
    "\x7f",
    "it's\t\\here",
    "żółw",
    "",
)
TYPED = re.compile(
    r"(?:^|[\s;:`'(])(?:valerix|kubectl|chmod|chown|mv|rm|df|curl|export|cd|kill|pg_isready|apt-get|pip) [^;]*$"
)
"""Text that ends like this is the beginning of a command, and a part of it follows."""
PATH = re.compile(r"(?:^|[\w}]|://[^/\s]+)/(?:api|apis|orders|v1|admin)(?:/[^\s?]*)?/$")
"""Text that ends like this is the beginning of a URL's path, and a segment follows."""
QUOTED = re.compile(r"(?:word|command|path)\(|pid$|(?:server|self)\.port$|[A-Z_]+(?:\[.*\])?$")
"""Expressions that are safe there: our helpers' results, numbers, and constants."""
SPOKEN = (
    "valerix top  {name}",  # a title on the screen
    "valerix demo: {TITLE}",  # the title of a picture
    "valerix dashboard sign-in {said}",  # input of a password hash
    "valerix {version.",  # name and version of the command
    "use valerix {ready.version}",
    "started by valerix {version}",
    "kill -9 of {self.kill}",  # description of a fault, in a drill's receipt
    "expires in {ends}",  # about a command
    "Logs: valerix logs -f ({stack.log_dir}",
    "valerix cluster {'delete' if",  # one of two words
    "valerix drill {verb}",
)
"""Text that only looks like a command, or contains no value of a user."""


def read_by_a_shell(line: str) -> list[str]:
    """Return the words of a command line, as bash splits it."""
    script = f"printf '%s\\0' {line}"
    output = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=30).stdout  # noqa: S607 - bash is the subject of the test
    return output.decode(errors="surrogateescape").split("\0")[:-1]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_quoted_word_is_read_back_by_a_shell_and_safe_in_a_terminal(value: str) -> None:
    assert read_by_a_shell(word(value)) == [value]
    assert word(value).isprintable()


@pytest.mark.parametrize("value", HOSTILE)
def test_a_quoted_value_is_never_read_as_an_option(value: str) -> None:
    line = command("valerix order place", value, "b", key=value, item=None, quiet=False, no_input=True)
    words = read_by_a_shell(line)
    assert words[:3] == ["valerix", "order", "place"]
    at = words.index("--key")
    assert words[at : at + 3] == ["--key", value, "--no-input"]
    if value.startswith("-"):
        assert words[at + 3 :] == ["--", value, "b"]
    else:
        assert words[3:5] == [value, "b"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoted_toml_strings_and_keys_are_read_back_unchanged(value: str) -> None:
    assert tomllib.loads(f"{toml_key(value)} = {toml_string(value)}") == {value: value}


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "back\\slash*", "[a-z]", "plain"])
def test_an_escaped_path_with_pattern_characters_matches_only_itself(name: str, tmp_path: Path) -> None:
    for each in (name, "a1", "aa", "whatx", "a"):
        (tmp_path / each).touch()
    expand = f"shopt -s nullglob; printf '%s\\0' {glob(name)}"
    done = subprocess.run(["bash", "-c", expand], cwd=tmp_path, capture_output=True, check=True, text=True, timeout=30)  # noqa: S607 - bash is the subject of the test
    assert done.stdout.split("\0")[:-1] == [name]


@pytest.mark.parametrize("segment", [".", "..", ""])
def test_no_service_path_has_a_dot_segment(segment: str) -> None:
    with pytest.raises(ValueError, match="no segment"):
        paths.path("api", "inventory", segment)


@pytest.mark.parametrize("segment", ["a/../b", "%2e%2e", "a?b#c", "a b", "\n", "é"])
def test_a_service_path_has_exactly_the_given_segments(segment: str) -> None:
    from yarl import URL  # noqa: PLC0415 - as aiohttp reads it

    url = URL(f"http://127.0.0.1{paths.path('api', 'inventory', segment, 'restock')}")
    assert url.raw_path.count("/") == 4
    assert url.parts[3] == segment or url.raw_parts[3] == paths.path(segment)[1:]


@cache
def followed() -> list[tuple[str, str, str]]:
    """Return each expression in our f-strings: its location, the text before it, and the expression."""
    found = []
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            before = ""
            if not isinstance(node, ast.JoinedStr):
                continue
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    expression = ast.unparse(value.value)
                    found.append((f"{file.relative_to(ROOT)}:{node.lineno}", before, expression))
                    before += f"{{{expression}}}"
                elif isinstance(value, ast.Constant):
                    before += str(value.value)
    return found


def unquoted(beginning: re.Pattern[str]) -> list[str]:
    return [
        f"{where}: {before}{{{expression}}}"
        for where, before, expression in followed()
        if beginning.search(before)
        and not QUOTED.match(expression)
        and not any(known in f"{before}{{{expression}}}" for known in SPOKEN)
    ]


def test_every_value_in_a_suggested_command_is_quoted() -> None:
    assert unquoted(TYPED) == []


def test_every_value_in_a_url_path_is_escaped() -> None:
    assert unquoted(PATH) == []


def test_the_source_scan_finds_known_commands() -> None:
    """Otherwise the two tests above could not fail."""
    found = [(before, expression) for _, before, expression in followed() if TYPED.search(before)]
    assert ("kubectl kustomize ", "word(overlay)") in found
    assert PATH.search("/api/inventory/")
    assert PATH.search("{url}/api/v1/namespaces/{namespace}/pods/")


def test_only_the_quoting_modules_quote_for_a_shell_or_a_path() -> None:
    elsewhere = {
        str(file.relative_to(ROOT))
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module, *(name.name for name in node.names))
        in {("shlex", "quote"), ("urllib.parse", "quote"), ("pipes", "quote")}
    }
    assert elsewhere <= {"services/common/paths.py", "valerix_cli/contexts/from_cluster.py"}  # a password in a URL


def test_every_suggested_command_is_valid() -> None:
    """Mentioned options belong to the command, so that pasted commands are valid."""
    commands = dict(every_command())
    calls = [
        call
        for file in SOURCES
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "command"
        and isinstance(call.args[0], ast.Constant)
        and str(call.args[0].value).startswith("valerix ")
    ]
    assert len(calls) > 20
    for call in calls:
        assert isinstance(call.args[0], ast.Constant)
        named = tuple(part for part in str(call.args[0].value).split()[1:] if not part.startswith("-"))
        if named in commands:
            known = {option for param in commands[named].params for option in param.opts}
            assert {f"--{keyword.arg}".replace("_", "-") for keyword in call.keywords} <= known, ast.unparse(call)
        else:
            assert any(path[: len(named)] == named for path in commands), ast.unparse(call)
