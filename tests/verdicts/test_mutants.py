"""The mutants have the intended changes; `nox -s verdicts` checks that the tests of each module catch them."""

import ast
from pathlib import Path

import pytest

from tests.verdicts.equivalents import EQUIVALENT
from tests.verdicts.mutants import mutants, mutated
from tests.verdicts.targets import ROOT, TARGETS, Target

JUDGE = """
def judge(found: list[int], limit: int | None) -> str:
    \"\"\"Held unless one of them is more.\"\"\"
    wrong = []
    if limit is None:
        return "not-measured"
    for one in found:
        if not one <= limit and one:
            wrong.append(one)
    return "missed" if any(wrong) else "held"
"""


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    path = tmp_path / "judge.py"
    path.write_text(JUDGE)
    return path


def test_every_comparison_condition_gate_and_verdict_has_a_mutant(judge: Path) -> None:
    assert {mutant.name.partition(": ")[2] for mutant in mutants("judge", judge)} == {
        "limit is None -> False",
        "limit is None -> is not",
        "'not-measured' -> 'held'",
        "not one <= limit and one -> False",
        "not one <= limit and one -> or",
        "not one <= limit and one: not one <= limit left out",
        "not one <= limit and one: one left out",
        "not one <= limit -> one <= limit",
        "one <= limit -> <",
        "wrong.append(one) left out",
        "any(wrong) -> False",
        "any(wrong) -> True",
        "any(wrong) -> all",
        "'missed' -> 'held'",
        "'held' -> 'missed'",
    }


def test_a_mutant_differs_from_the_module_by_one_mistake(judge: Path) -> None:
    original = ast.unparse(ast.parse(JUDGE)).splitlines()
    for mutant in mutants("judge", judge):
        wrong = ast.unparse(mutated(JUDGE, mutant)).splitlines()
        assert len(wrong) == len(original)
        assert sum(one != other for one, other in zip(original, wrong, strict=True)) == 1, mutant.name


def test_a_mutant_runs_and_behaves_as_its_name_states(judge: Path) -> None:
    (mutant,) = [one for one in mutants("judge", judge) if one.name.endswith("append(one) left out")]
    names: dict[str, object] = {}
    exec(compile(mutated(JUDGE, mutant), "judge.py", "exec"), names)  # noqa: S102 - what is written above
    assert names["judge"]([5], 3) == "held"  # type: ignore[operator]  # it is a function


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.module))
def test_every_target_exists_with_its_functions_and_its_tests(target: Target) -> None:
    assert target.mutants()
    assert all((ROOT / test).is_file() for test in target.tests)
    places = {mutant.name.partition(": ")[0] for mutant in target.mutants()}
    for function in target.functions:
        assert any(place == function or place.startswith(f"{function}.") for place in places), function


def test_every_mutant_has_a_unique_name_and_every_equivalent_one_exists() -> None:
    names = [(mutant.module, mutant.name) for target in TARGETS for mutant in target.mutants()]
    assert len(names) == len({*names})
    assert {*EQUIVALENT} <= {*names}
    assert all(EQUIVALENT.values()), "each has a reason"
