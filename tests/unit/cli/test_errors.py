"""Exit codes and messages of commands that fail."""

import re

import pytest

from tests.unit.cli.samples import order, problem, sent
from valerix_cli import errors
from valerix_cli.clients.problems import error_of, problem_of
from valerix_cli.commands.order_place import error_among
from valerix_cli.errors import CliError, DomainError, ExitCode, GuardError
from valerix_cli.output import print_error


def test_an_error_is_three_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(CliError("It broke.", "a reason\nof two lines", "valerix status"))
    seen = capsys.readouterr()
    assert seen.err == "Error: It broke.\n  why: a reason of two lines\n  try: valerix status\n"
    assert seen.out == ""


def test_every_error_has_the_exit_code_of_its_module_docstring() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+(\d+) ", errors.__doc__ or ""))
    kinds = {
        kind.__name__: str(int(kind.code)) for kind in CliError.__subclasses__() if kind.__module__ == errors.__name__
    }
    assert kinds == {name: code for name, code in drawn.items() if name != "CliError"}


def test_exit_codes_are_stable_and_those_of_signals_are_128_plus_the_number() -> None:
    assert {code.name.lower(): int(code) for code in ExitCode} == {
        "done": 0, "failed": 1, "bad_usage": 2, "unreachable": 3, "guard": 4, "domain": 5, "expectation": 10,
        "invariant": 11, "inconclusive": 12, "rollback": 13, "regression": 14, "changes_found": 20,
        "timed_out": 124, "hung_up": 129, "interrupted": 130, "pipe_closed": 141, "terminated": 143,
    }  # fmt: skip
    assert ExitCode.of(KeyboardInterrupt()) is ExitCode.INTERRUPTED
    assert ExitCode.of(SystemExit(143)) is ExitCode.TERMINATED
    assert ExitCode.of(SystemExit()) is ExitCode.DONE


def test_a_refusal_shows_its_details_and_a_hint() -> None:
    error = error_of(problem("insufficient-stock", 409, item_id="ps5", requested=500, available=98))
    assert isinstance(error, DomainError)
    assert error.why == "insufficient-stock: A detail (requested 500, available 98)"
    assert error.hint.startswith("valerix stock restock ps5 402,")


def test_a_detail_that_looks_like_a_placeholder_is_not_replaced() -> None:
    error = error_of(problem("insufficient-stock", 409, item_id="QTY $(id)", requested=500, available=98))
    assert error.hint.startswith("valerix stock restock 'QTY $(id)' 402,")


def test_a_response_without_a_problem_document_is_reported_by_status() -> None:
    read = problem_of(502, b"<html>Bad gateway</html>", "3")
    assert (read.slug, read.status, read.retry_after) == ("status-502", 502, 3.0)


def test_disallowed_chaos_is_a_guard_error_with_the_setting() -> None:
    refused = problem_of(404, b'{"type":"urn:valerix:problem:not-found","detail":"x"}', None)
    error = error_of(refused, path="/api/admin/chaos")
    assert isinstance(error, GuardError)
    assert "VALERIX_CHAOS_ALLOWED" in error.hint


def test_placed_orders_give_no_error() -> None:
    assert error_among([sent(order()), sent(order(status="queued"), status=202)]) is None


def test_a_domain_refusal_decides_the_exit_code_of_several_orders() -> None:
    error = error_among([sent(order()), sent(problem("queue-full", 503)), sent(problem("unknown-item", 422))])
    assert error is not None
    assert error.code is ExitCode.DOMAIN
    assert error.what == "2 of 3 orders were not placed."
    assert "1 queue-full, 1 unknown-item" in error.why


def test_an_order_that_fails_while_waiting_is_a_refusal() -> None:
    error = error_among([sent(order(status="failed", reason="insufficient-stock"), status=202)])
    assert isinstance(error, DomainError)


def test_an_order_that_dies_while_waiting_hints_at_a_requeue() -> None:
    error = error_among([sent(order(status="dead", reason="attempts-exhausted"), status=202)])
    assert error is not None
    assert (error.code, error.hint) == (ExitCode.FAILED, f"valerix queue requeue {order().order_id}")
    assert error.why.startswith("attempts-exhausted: All attempts were used up")


def test_a_refusal_shows_no_trace_id() -> None:
    error = error_of(problem("insufficient-stock", 409, requested=5, available=3, trace_id="0af7651916cd43dd"))
    assert error.why == "insufficient-stock: A detail (requested 5, available 3)"
