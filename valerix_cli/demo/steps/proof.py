"""The audit: the receipt of what has been shown, and then one that has to be red."""

from valerix_cli.audit.model import DEDUCTED_MEANS_ORDERED, Audit, Invariant
from valerix_cli.demo.step_context import StepContext, Violated
from valerix_cli.demo.steps.common import have_calm
from valerix_cli.demo.tampering import ORDER_ID
from valerix_cli.errors import ExitCode
from valerix_cli.units import format_duration


def receipt(play: StepContext) -> None:
    have_calm(play)
    found = _clean(play, "the audit to be clean")
    seen = found.compared
    held = sum(one.verdict == "held" for one in found.invariants)
    play.know(JOURNAL=str(play.scene.journal))
    play.see("orders", ", ".join(f"{count:,} {status}" for status, count in seen.orders.items()))
    play.see("compared", f"{seen.deductions:,} deductions, {seen.events:,} steps, {seen.ledger_lines:,} ledger lines")
    play.see("customers", f"{seen.journal_keys or 0:,} keys, each as its customer was answered")
    play.see("invariants", f"{held} of {len(found.invariants)} held")
    play.see("audit", f"clean: exit {int(ExitCode.DONE)}, in {format_duration(found.seconds)}")


def forged(play: StepContext) -> None:
    scene = play.scene
    assert scene.forgery is not None  # noqa: S101 - the step is skipped without # nosec B101
    play.go_on()
    line = scene.forgery.forge(scene.item)
    try:
        play.see("forged", f"ledger line {line}: 1 x {scene.item}, for an order without a client")
        play.see("that order", str(ORDER_ID))
        one = play.until(lambda: _red(scene.audit()), "the audit to find it", lambda: "a clean audit")
        play.see("audit", f"VIOLATED: exit {int(ExitCode.INVARIANT)}")
        play.see("broken", f"{one.name}, by {one.broken} of {one.checked:,} {one.of}")
        play.see("because", one.examples[0].wrong)
    finally:
        scene.forgery.undo()
    play.see("undone", "that line deleted, that one given back")
    found = _clean(play, "the audit to be clean again")
    play.see("audit", f"clean: exit {int(ExitCode.DONE)}, in {format_duration(found.seconds)}")


def _clean(play: StepContext, what: str) -> Audit:
    """Raises Violated where something is wrong, which no waiting would put right."""

    def look() -> Audit | None:
        found = play.scene.audit()
        if found.verdict == "violated":
            raise Violated(_first(found))
        return found if found.verdict == "clean" else None

    return play.until(look, what, lambda: "orders that are not settled")


def _first(found: Audit) -> str:
    wrong = next(one for one in found.invariants if one.verdict == "violated")
    return f"{wrong.name}: {wrong.examples[0].subject}: {wrong.examples[0].wrong}"


def _red(found: Audit) -> Invariant | None:
    """The invariant that the forgery breaks, if the audit has seen that it is broken."""
    (one,) = (one for one in found.invariants if one.name == DEDUCTED_MEANS_ORDERED.name)
    named = any(example.subject == str(ORDER_ID) for example in one.examples)
    return one if one.verdict == "violated" and named else None
