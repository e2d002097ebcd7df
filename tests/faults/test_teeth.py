"""The mutants apply to the code, and one of them is caught; `nox -s teeth` runs all of them."""

import pkgutil
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Databases
from tests.faults import mutant_run
from tests.faults.mutants import BY_NAME, MUTANTS
from tests.faults.mutation import Edit, Mutant, MutantError, apply, edited
from tests.faults.teeth import Row, Table, document, markdown


def greet(name: str) -> str:
    return f"Good day, {name}"


def part(name: str) -> str:
    return f"Farewell, {name}"


def test_an_edit_changes_a_function_that_was_imported_before() -> None:
    known = greet
    apply(Edit(f"{__name__}:greet", {"Good day": "Good night"}))
    assert known("Ada") == "Good night, Ada"


def test_an_edit_that_does_not_find_its_text_is_an_error() -> None:
    with pytest.raises(MutantError, match="part no longer says 'Bonjour'"):
        edited(part, {"Bonjour": "Bonsoir"})


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies_to_the_code(mutant: Mutant, order_database: str, inventory_database: str) -> None:
    for edit in mutant.edits:
        edited(pkgutil.resolve_name(edit.function), edit.changes)
    mutant.alter(order_database, inventory_database)


def test_every_mutant_has_a_unique_name_and_describes_its_mistake() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert all(mutant.mistake and (mutant.edits or mutant.order_statements) for mutant in MUTANTS)


def test_a_mutant_that_sends_retries_under_other_ids_is_caught(databases: Databases, tmp_path: Path) -> None:
    mutant = BY_NAME["fresh-order-id-on-retry"]
    result = mutant_run.run(databases, tmp_path, mutant, seed=1)
    as_control = Table(1, result, [Row(mutant.name, mutant.mistake, mutant.breaks, result)])
    assert as_control.verdict == "1 of 1 caught, control NOT CLEAN"
    assert not as_control.holds
    assert f"| {mutant.name} | {mutant.mistake} | " in markdown(as_control)
    assert msgspec.json.decode(document(as_control))["rows"][0]["caught"] is True
