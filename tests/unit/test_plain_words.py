"""Documentation, docstrings and messages avoid words that the field has better ones for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVOIDED = re.compile(
    r"\b(amiss|anew|(came|comes?) (about|of)|deeds?|ever after|hears? of|in hand|(is|are|was) to be|lately|let go of"
    r"|no telling|nobody|not understood|of (its|their|our|one's) own|put right|somebody|told|whoever|whomever)\b",
    re.IGNORECASE,
)
"""Write instead: wrong, again, happens, results from, action, from then on, is notified of, claimed, has to be,
recently, release, unknown, no process, invalid, its own, correct, another user, reported, a client that.
"""
OPENING = re.compile(r"(What|Whatever|Whether|Where|Who|Whoever|That|Those|Is|How(?! (many|far|long|often)))\b")
"""A docstring names its subject or its result: "Return", "Yield", "True if". "How many" may introduce a limit."""
ALLOWED = {
    ("valerix_cli/demo/navigation.py", "told"),  # a parameter
    ("valerix_cli/demo/tampering.py", "nobody"),  # a name from which an id is derived
    ("valerix_cli/local/accounts.py", "nobody"),  # a system account
    ("valerix_cli/local/postgres.py", "nobody"),
    ("valerix_cli/doctor/binaries.py", "nobody"),
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SPOKEN = {ROOT / "valerix_cli" / "demo" / "script.py"}  # what a presenter says
MODULES = sorted(
    file for package in ("services", "valerix_cli") for file in (ROOT / package).rglob("*.py") if file not in SPOKEN
)

TESTS = sorted(file for folder in ("dashboards", "docs", "tests") for file in (ROOT / folder).rglob("*.py"))


def docstrings(module: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each string that stands alone: the docstrings, of constants and fields as well."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def texts(module: Path) -> Iterator[str]:
    """Yield the docstrings and messages of a module: all strings with a space."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def avoided(path: Path, text: str) -> set[str]:
    name = str(path.relative_to(ROOT))
    return {word for match in AVOIDED.finditer(text) if (name, word := match[0].lower()) not in ALLOWED}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documentation_has_no_avoided_word(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    assert avoided(page, prose) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paragraphs_of_documentation_begin_with_their_subject(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    blocks = re.split(r"\n\n|\n(?=(?:[-*]|\d+\.) )", prose)  # paragraphs and entries of lists
    assert [block for block in blocks if OPENING.match(block.lstrip("-*0123456789. \n"))] == []


def test_docstrings_and_messages_have_no_avoided_word() -> None:
    found = {str(module.relative_to(ROOT)): avoided(module, "\n".join(texts(module))) for module in MODULES}
    assert {name: words for name, words in found.items() if words} == {}


def test_docstrings_of_tests_have_no_avoided_word() -> None:
    found = {
        f"{module.relative_to(ROOT)}:{line}": words
        for module in TESTS
        for line, text in docstrings(module)
        if (words := avoided(module, re.sub(r"`[^`]*`", "", text)))
    }
    assert found == {}


def test_docstrings_begin_with_their_subject() -> None:
    found = [
        f"{module.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for module in [ROOT / "noxfile.py", *MODULES, *SPOKEN, *TESTS]
        for line, text in docstrings(module)
        if OPENING.match(text)
    ]
    assert found == []
