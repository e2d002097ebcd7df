"""The code that makes verdicts, and the unit tests that have to notice each mistake in it."""

from pathlib import Path

import msgspec

from tests.verdicts.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
DRILLS = "tests/unit/drills"
CLI = "tests/unit/cli"
AUDIT = "tests/unit/audit"
LOAD = "tests/unit/load"


class Target(msgspec.Struct, frozen=True):
    """A module, or some of its functions, and the tests of it: quick ones first, since the first that fails decides."""

    module: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the module is; looked up without importing it."""
        return ROOT.joinpath(*self.module.split(".")).with_suffix(".py")

    def mutants(self) -> list[Mutant]:
        return mutants(self.module, self.path, self.functions)


TARGETS = (
    Target("valerix_cli.errors", (f"{CLI}/test_errors.py", f"{CLI}/test_catalogue.py"), ("ExitCode",)),
    Target("valerix_cli.gates", (f"{CLI}/test_gates.py",)),
    Target("valerix_cli.load.metrics", (f"{CLI}/test_gates.py", f"{LOAD}/test_generator.py")),
    Target("valerix_cli.commands.load", (f"{CLI}/test_load_verdict.py",), ("error_of",)),
    Target("valerix_cli.commands.audit", (f"{CLI}/test_audit_view.py",), ("error_of", "_without_answers", "changed")),
    Target("valerix_cli.commands.alerts", (f"{CLI}/test_alerts.py",), ("error_of",)),
    Target("valerix_cli.commands.replay", (f"{CLI}/test_replay.py",), ("judge", "_of_repeats", "_of_mutated")),
    Target("valerix_cli.doctor.model", (f"{CLI}/test_doctor.py",), ("conclude",)),
    Target("valerix_cli.audit.model", (f"{CLI}/test_audit_view.py", f"{AUDIT}/test_comparison.py")),
    Target("valerix_cli.audit.comparison", (f"{AUDIT}/test_comparison.py",)),
    Target("valerix_cli.audit.journal_check", (f"{AUDIT}/test_journal_check.py",)),
    Target("valerix_cli.audit.cache", (f"{AUDIT}/test_cache.py",), ("CachedResponses", "compare", "_decode")),
    Target("valerix_cli.drills.judging", (f"{DRILLS}/test_judging.py", f"{DRILLS}/test_figures.py")),
    Target("valerix_cli.drills.verdict", (f"{DRILLS}/test_verdict.py",)),
    Target("valerix_cli.drills.comparing", (f"{DRILLS}/test_verdict.py",)),
    Target("valerix_cli.drills.receipt", (f"{DRILLS}/test_verdict.py",), ("Difference", "Comparison")),
    Target("valerix_cli.drills.figures", (f"{DRILLS}/test_figures.py",)),
    Target("valerix_cli.drills.enforceable", (f"{DRILLS}/test_reading.py",)),
    Target("valerix_cli.drills.requirements", (f"{DRILLS}/test_reading.py",)),
    Target("valerix_cli.drills.runner", (f"{DRILLS}/test_runner.py", f"{DRILLS}/test_nothing_is_dropped.py"), tuple(
        f"Runner.{name}"
        for name in (
            "_is_steady", "_judge_faults", "_prove", "_hold", "_load_goes_on", "_calls_for_an_end",
        )
    )),
)  # fmt: skip
