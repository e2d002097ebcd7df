"""docs/glossary.md names each concept once, and the documentation uses those names."""

import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CURRENT = [page for page in PAGES if page.name not in {"glossary.md", "CHANGELOG.md"}]


class Term(NamedTuple):
    names: list[str]
    avoided: list[str]


def terms() -> list[Term]:
    lines = [line for line in GLOSSARY.read_text().splitlines() if re.match(r"\| [a-z]", line)]
    rows = [[cell.strip() for cell in re.sub(r"^\| ", "", line).split("|")] for line in lines]
    return [Term(words(row[0]), words(row[3])) for row in rows if row[0] != "term"]


def words(cell: str) -> list[str]:
    """Return the names in a cell, without qualifiers."""
    return [re.sub(r" \(.*\)", "", word) for word in cell.split(", ") if word]


def occurs(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(s|es|ed)?(?![\w-])", text, re.IGNORECASE) is not None


def test_each_concept_has_one_row() -> None:
    names = list(chain.from_iterable(term.names for term in terms()))
    assert len(names) > 40
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("term", terms(), ids=lambda term: term.names[0])
def test_each_term_is_used_in_the_documentation(term: Term) -> None:
    text = "\n".join(page.read_text() for page in CURRENT)
    assert [name for name in term.names if not occurs(name, text)] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_no_page_has_a_second_word_for_a_concept(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    found = [word for term in terms() for word in term.avoided if occurs(word, text)]
    assert found == []
