"""The conditions under which a drill is aborted before its end."""

from collections.abc import Sequence

from valerix_cli.drills.aborted import Aborted
from valerix_cli.drills.evaluate import evaluate, never
from valerix_cli.drills.meter import DrillMeter
from valerix_cli.drills.receipt import Check
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.validation import RECENT


class AbortConditions:
    """Evaluates the abort conditions of a drill while it runs."""

    def __init__(self, requirements: Sequence[Requirement], meter: DrillMeter) -> None:
        self._requirements, self._meter = requirements, meter
        self._decided = [0] * len(requirements)  # evaluations with enough data, by condition
        self._aborted_by: int | None = None

    def check(self, now: float) -> None:
        """Raise Aborted if a condition holds. `now` is in seconds since the load began."""
        for number, requirement in enumerate(self._requirements):
            if self._holds(number, requirement, now):
                self._aborted_by = number
                raise Aborted(f"abort: {requirement.text}")

    def checks(self) -> list[Check]:
        """Return a check for each condition."""
        return never(self._requirements, self._decided, self._aborted_by)

    def _holds(self, number: int, requirement: Requirement, now: float) -> bool:
        """Evaluate a condition over the time that it has to last."""
        period = requirement.lasting or RECENT
        if now < period:
            return False
        (check,) = evaluate("faults", [requirement], self._meter.last(period))
        self._decided[number] += check.verdict != "not-measured"
        return check.verdict == "held"
