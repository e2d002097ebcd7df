"""Every code has an explanation and is documented."""

import re
from pathlib import Path

import pytest

from valerix_cli.error_reference import ENTRIES, PROBLEMS, Problem, lookup
from valerix_cli.errors import ExitCode
from valerix_cli.main import build

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def slugs_of_the_services() -> set[str]:
    """Return the slugs in the services' source: `slug, status, title = "…"`, and the table of Litestar's refusals."""
    found: set[str] = set()
    for path in (ROOT / "services").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'slug, status, title = "([a-z-]+)"', source))
        found |= set(re.findall(r'\d{3}(?:: \(|, )"([a-z-]+)",', source))
    return found


def test_every_problem_type_of_the_services_is_explained() -> None:
    assert slugs_of_the_services() - {problem.code for problem in PROBLEMS} == set()


def test_every_exit_code_is_explained() -> None:
    for code in ExitCode:
        assert lookup(str(int(code))), code


@pytest.mark.parametrize("code", [entry.code for entry in ENTRIES])
def test_every_code_is_in_the_manual(code: str) -> None:
    assert f"`{code}`" in MANUAL


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.code)
def test_the_manual_has_the_exit_code_of_every_problem(problem: Problem) -> None:
    assert f"| `{problem.code}` | {int(problem.error.code)} |" in MANUAL


def commands() -> list[str]:
    root = build()
    context = root.make_context("valerix", [], resilient_parsing=True)
    found = []
    for name in root.list_commands(context):
        _, command, _ = root.resolve_command(context, [name])
        nested = getattr(command, "commands", None)
        found += [f"valerix {name} {sub}" for sub in nested] if nested else [f"valerix {name}"]
    return found


def test_every_command_is_in_the_manual() -> None:
    missing = [command for command in commands() if not re.search(rf"^#+ .*`{command}`", MANUAL, re.MULTILINE)]
    assert missing == []


def test_a_full_problem_type_urn_is_accepted() -> None:
    assert lookup("urn:valerix:problem:queue-full") == lookup("queue-full") != []
