"""The code that computes verdicts, and the unit tests that have to catch each mutation of it."""

from pathlib import Path

import msgspec

from tests.verdicts.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
DRILLS = "tests/unit/drills"
CLI = "tests/unit/cli"
RUNS = (f"{DRILLS}/test_runner.py", f"{DRILLS}/test_every_requirement_is_checked.py")
AUDIT = "tests/unit/audit"
LOAD = "tests/unit/load"


class Target(msgspec.Struct, frozen=True):
    """A module, or some of its functions, and its tests: fast ones first, since the first failure decides."""

    module: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Path of the module, found without importing it."""
        return ROOT.joinpath(*self.module.split(".")).with_suffix(".py")

    def mutants(self) -> list[Mutant]:
        return mutants(self.module, self.path, self.functions)


TARGETS = (
    Target("valerix_cli.errors", (f"{CLI}/test_errors.py", f"{CLI}/test_error_reference.py"), ("ExitCode",)),
    Target("valerix_cli.gates", (f"{CLI}/test_gates.py",)),
    Target("valerix_cli.load.metrics", (f"{CLI}/test_gates.py", f"{LOAD}/test_generator.py")),
    Target("valerix_cli.commands.load", (f"{CLI}/test_load_verdict.py",), ("error_of",)),
    Target("valerix_cli.commands.audit", (f"{CLI}/test_audit_view.py",), ("error_of", "_without_answers", "changed")),
    Target("valerix_cli.commands.alerts", (f"{CLI}/test_alerts.py",), ("error_of",)),
    Target(
        "valerix_cli.commands.order_replay",
        (f"{CLI}/test_replay.py",),
        ("summarize_replay", "_of_repeats", "_of_mutated"),
    ),
    Target("valerix_cli.doctor.model", (f"{CLI}/test_doctor.py",), ("conclude",)),
    Target("valerix_cli.audit.model", (f"{CLI}/test_audit_view.py", f"{AUDIT}/test_comparison.py")),
    Target("valerix_cli.audit.comparison", (f"{AUDIT}/test_comparison.py",)),
    Target("valerix_cli.audit.journal_check", (f"{AUDIT}/test_journal_check.py",)),
    Target("valerix_cli.audit.cache", (f"{AUDIT}/test_cache.py",), ("CachedResponses", "compare", "_decode")),
    Target("valerix_cli.drills.evaluate", (f"{DRILLS}/test_evaluate.py", f"{DRILLS}/test_metrics.py")),
    Target("valerix_cli.drills.verdict", (f"{DRILLS}/test_verdict.py",)),
    Target("valerix_cli.drills.compare", (f"{DRILLS}/test_verdict.py",)),
    Target("valerix_cli.drills.receipt", (f"{DRILLS}/test_verdict.py",), ("Difference", "Comparison")),
    Target("valerix_cli.drills.metrics", (f"{DRILLS}/test_metrics.py",)),
    Target("valerix_cli.drills.validation", (f"{DRILLS}/test_parser.py",)),
    Target("valerix_cli.drills.requirements", (f"{DRILLS}/test_parser.py",)),
    Target("valerix_cli.drills.abort_conditions", RUNS, ("AbortConditions._holds",)),
    Target("valerix_cli.drills.background_load", RUNS, ("BackgroundLoad.raise_if_failed",)),
    Target("valerix_cli.drills.meter", RUNS, ("DrillMeter.last",)),
    Target("valerix_cli.drills.phases", RUNS, (
        "Phases._is_steady", "Phases.evaluate_period", "Phases._evaluate", "Phases._advance_until",
    )),
    Target("valerix_cli.drills.runner", RUNS, ("Runner._evaluate_faults", "Runner._run_audit")),
)  # fmt: skip
