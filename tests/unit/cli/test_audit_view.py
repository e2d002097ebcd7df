"""Verdict and output of an audit; without evidence it is never `ok`."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from services.frontend import actions, wire
from valerix_cli.audit import model
from valerix_cli.audit.model import Audit, Coverage, Example, Finding, Invariant
from valerix_cli.commands.audit import changed, error_of
from valerix_cli.errors import ExitCode
from valerix_cli.top.panels.audit import draw
from valerix_cli.top.panels.size import Room
from valerix_cli.views.audit import audit_view, invariant_line

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HELD = model.ONE_ORDER_PER_KEY.evaluate(Finding(3))
EMPTY = model.ONE_ORDER_PER_KEY.evaluate(Finding(0))
BROKEN = model.NO_OVERSELL.evaluate(Finding(12, 1, [Example("ps5", "-1 are left")]))
UNSETTLED = model.SETTLED.evaluate(Finding(3, 1, [Example("an-order", "queued for 2 min")]))
TOLD = model.ACKNOWLEDGED_NOT_LOST


def audit(*invariants: Invariant, orders: int = 3, keys: int | None = None) -> Audit:
    compared = Coverage({"confirmed": orders} if orders else {}, 2 * orders, orders, 0, 12, 15, keys)
    verdict = model.conclude(invariants)
    return Audit(verdict, NOW, 0.4, 60.0, compared, [*invariants], [], without_orders=compared.is_without_orders)


def shown(found: Audit) -> str:
    console = Console(file=(screen := StringIO()), width=120)
    console.print(audit_view(found))
    return screen.getvalue()


def test_a_clean_audit_without_orders_shows_that_nothing_was_compared() -> None:
    assert "Nothing was compared: there are no orders" in shown(audit(EMPTY, orders=0))
    assert "Clean" not in shown(audit(EMPTY, orders=0))
    assert "Clean: every key had exactly one effect" in shown(audit(HELD))
    assert "Violated." in shown(audit(BROKEN, orders=0))


def test_an_old_audit_without_the_field_is_not_shown_as_without_orders() -> None:
    compared = Coverage({"confirmed": 3}, 6, 3, 0, 12, 15, None)
    assert "Clean" in shown(Audit("clean", NOW, 0.4, 60.0, compared, [HELD], []))


def test_a_rule_checked_on_nothing_is_not_shown_as_ok() -> None:
    assert "nothing there" in shown(audit(HELD, EMPTY))
    assert invariant_line(EMPTY) == "one-order-per-key nothing there, 0 orders checked, 0 broken"
    assert invariant_line(HELD) == "one-order-per-key ok, 3 orders checked, 0 broken"


def test_top_and_the_dashboard_mark_an_audit_without_orders() -> None:
    room = Room(80, tall=True)
    assert "nothing to compare" in str(draw(audit(EMPTY, orders=0), room))
    assert "clean" in str(draw(audit(HELD), room))
    rules: list[wire.Invariant] = []
    assert actions._audit_notice(wire.Audit("clean", NOW, 0.4, rules, without_orders=True)).message.startswith(  # noqa: SLF001 - the page's message
        "Nothing"
    )
    assert actions._audit_notice(wire.Audit("clean", NOW, 0.4, rules)).kind == "good"  # noqa: SLF001 - the same


@pytest.mark.parametrize(
    ("compared", "without"),
    [
        (Coverage({}, 0, 0, 0, 12, 12, None), True),
        (Coverage({"confirmed": 0}, 0, 0, 0, 12, 12, 0), True),
        (Coverage({"queued": 1}, 0, 0, 0, 12, 12, None), False),
        (Coverage({}, 1, 0, 0, 12, 12, None), False),
        (Coverage({}, 0, 1, 0, 12, 12, None), False),
        (Coverage({}, 0, 0, 1, 12, 12, None), False),
        (Coverage({}, 0, 0, 0, 12, 12, 1), False),
    ],
)
def test_an_audit_with_any_trace_of_an_order_is_not_without_orders(compared: Coverage, *, without: bool) -> None:
    assert compared.is_without_orders is without


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (audit(HELD), None),
        (audit(EMPTY, orders=0), None),
        (audit(HELD, TOLD.unchecked()), None),
        (audit(HELD, TOLD.evaluate(Finding(2)), keys=2), None),
        (audit(HELD, TOLD.unchecked(), keys=2), ExitCode.INCONCLUSIVE),
        (audit(EMPTY, TOLD.unchecked(), orders=0, keys=0), ExitCode.INCONCLUSIVE),
        (audit(HELD, UNSETTLED), ExitCode.INCONCLUSIVE),
        (audit(BROKEN, UNSETTLED), ExitCode.INVARIANT),
        (audit(BROKEN, TOLD.unchecked(), keys=0), ExitCode.INVARIANT),
    ],
)
def test_the_exit_code_of_an_audit_is_that_of_its_verdict(found: Audit, code: ExitCode | None) -> None:
    error = error_of(found)
    assert (error.code if error else None) is code


def test_the_error_of_an_audit_names_the_count_and_the_first_example() -> None:
    error = error_of(audit(BROKEN, UNSETTLED))
    assert error is not None
    assert error.why == "no-oversell (1); first: ps5: -1 are left"
    assert "valerix explain no-oversell" in error.hint


def test_a_watched_audit_prints_a_rule_only_when_its_verdict_changes() -> None:
    before, now = audit(HELD, BROKEN), audit(HELD, model.NO_OVERSELL.evaluate(Finding(12)))
    assert changed(None, before) == before.invariants
    assert changed(before, before) == []
    assert [one.name for one in changed(before, now)] == ["no-oversell"]
