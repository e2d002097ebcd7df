"""The audit: clean for the demo so far, then violated after tampering."""

from valerix_cli.audit.model import DEDUCTED_MEANS_ORDERED, Audit, Invariant
from valerix_cli.demo.step_context import InvariantViolated, StepContext
from valerix_cli.demo.steps.common import wait_until_calm
from valerix_cli.demo.tampering import ORDER_ID
from valerix_cli.errors import ExitCode
from valerix_cli.units import format_duration


def receipt(step: StepContext) -> None:
    wait_until_calm(step)
    found = _clean(step, "the audit to be clean")
    sample = found.compared
    held = sum(one.verdict == "held" for one in found.invariants)
    step.set_placeholders(JOURNAL=str(step.environment.journal))
    step.add_fact("orders", ", ".join(f"{count:,} {status}" for status, count in sample.orders.items()))
    step.add_fact(
        "compared", f"{sample.deductions:,} deductions, {sample.events:,} steps, {sample.ledger_lines:,} ledger lines"
    )
    step.add_fact("customers", f"{sample.journal_keys or 0:,} keys, each as its customer was answered")
    step.add_fact("invariants", f"{held} of {len(found.invariants)} held")
    step.add_fact("audit", f"clean: exit {int(ExitCode.DONE)}, in {format_duration(found.seconds)}")


def forged(step: StepContext) -> None:
    environment = step.environment
    assert environment.local_tampering is not None  # noqa: S101 - the step is skipped without # nosec B101
    step.raise_if_cancelled()
    line = environment.local_tampering.forge(environment.item)
    try:
        step.add_fact("forged", f"ledger line {line}: 1 x {environment.item}, for an order without a client")
        step.add_fact("that order", str(ORDER_ID))
        one = step.wait_for(lambda: _red(environment.audit()), "the audit to find it", lambda: "a clean audit")
        step.add_fact("audit", f"VIOLATED: exit {int(ExitCode.INVARIANT)}")
        step.add_fact("broken", f"{one.name}, by {one.broken} of {one.checked:,} {one.of}")
        step.add_fact("because", one.examples[0].wrong)
    finally:
        environment.local_tampering.undo()
    step.add_fact("undone", "that line deleted, that one given back")
    found = _clean(step, "the audit to be clean again")
    step.add_fact("audit", f"clean: exit {int(ExitCode.DONE)}, in {format_duration(found.seconds)}")


def _clean(step: StepContext, what: str) -> Audit:
    """Wait for a clean audit. Raises InvariantViolated at once if an invariant is violated."""

    def look() -> Audit | None:
        found = step.environment.audit()
        if found.verdict == "violated":
            raise InvariantViolated(_first(found))
        return found if found.verdict == "clean" else None

    return step.wait_for(look, what, lambda: "orders that are not settled")


def _first(found: Audit) -> str:
    wrong = next(one for one in found.invariants if one.verdict == "violated")
    return f"{wrong.name}: {wrong.examples[0].subject}: {wrong.examples[0].wrong}"


def _red(found: Audit) -> Invariant | None:
    """Return the invariant that the tampering violates, if the audit reports it."""
    (one,) = (one for one in found.invariants if one.name == DEDUCTED_MEANS_ORDERED.name)
    named = any(example.subject == str(ORDER_ID) for example in one.examples)
    return one if one.verdict == "violated" and named else None
