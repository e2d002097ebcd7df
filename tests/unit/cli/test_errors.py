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


def test_each_error_has_the_exit_code_its_module_draws() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+(\d+) ", errors.__doc__ or ""))
    kinds = {
        kind.__name__: str(int(kind.code)) for kind in CliError.__subclasses__() if kind.__module__ == errors.__name__
    }
    assert kinds == {name: code for name, code in drawn.items() if name != "CliError"}


def test_an_exit_code_is_the_same_for_ever_and_that_of_a_signal_is_known_from_how_it_ends() -> None:
    assert {code.name.lower(): int(code) for code in ExitCode} == {
        "done": 0, "failed": 1, "bad_usage": 2, "unreachable": 3, "guard": 4, "domain": 5, "expectation": 10,
        "invariant": 11, "inconclusive": 12, "rollback": 13, "regression": 14, "changes_found": 20,
        "timed_out": 124, "hung_up": 129, "interrupted": 130, "pipe_closed": 141, "terminated": 143,
    }  # fmt: skip
    assert ExitCode.of(KeyboardInterrupt()) is ExitCode.INTERRUPTED
    assert ExitCode.of(SystemExit(143)) is ExitCode.TERMINATED
    assert ExitCode.of(SystemExit()) is ExitCode.DONE


def test_a_refusal_carries_its_facts_and_what_to_do() -> None:
    error = error_of(problem("insufficient-stock", 409, item_id="ps5", requested=500, available=98))
    assert isinstance(error, DomainError)
    assert error.why == "insufficient-stock: A detail (requested 500, available 98)"
    assert error.hint.startswith("valerix stock restock ps5 402,")


def test_a_fact_that_reads_like_a_place_for_another_stays_as_it_is() -> None:
    error = error_of(problem("insufficient-stock", 409, item_id="QTY $(id)", requested=500, available=98))
    assert error.hint.startswith("valerix stock restock 'QTY $(id)' 402,")


def test_an_answer_that_is_no_problem_document_is_named_for_its_status() -> None:
    read = problem_of(502, b"<html>Bad gateway</html>", "3")
    assert (read.slug, read.status, read.retry_after) == ("status-502", 502, 3.0)


def test_chaos_that_is_not_allowed_is_a_guard_and_says_so() -> None:
    refused = problem_of(404, b'{"type":"urn:valerix:problem:not-found","detail":"x"}', None)
    error = error_of(refused, path="/api/admin/chaos")
    assert isinstance(error, GuardError)
    assert "VALERIX_CHAOS_ALLOWED" in error.hint


def test_orders_that_were_all_placed_are_no_error() -> None:
    assert error_among([sent(order()), sent(order(status="queued"), status=202)]) is None


def test_a_refusal_of_the_domain_decides_how_a_run_of_orders_ends() -> None:
    error = error_among([sent(order()), sent(problem("queue-full", 503)), sent(problem("unknown-item", 422))])
    assert error is not None
    assert error.code is ExitCode.DOMAIN
    assert error.what == "2 of 3 orders were not placed."
    assert "1 queue-full, 1 unknown-item" in error.why


def test_an_order_that_failed_while_it_was_waited_for_is_a_refusal() -> None:
    error = error_among([sent(order(status="failed", reason="insufficient-stock"), status=202)])
    assert isinstance(error, DomainError)


def test_an_order_that_was_given_up_while_it_was_waited_for_can_be_requeued() -> None:
    error = error_among([sent(order(status="dead", reason="attempts-exhausted"), status=202)])
    assert error is not None
    assert (error.code, error.hint) == (ExitCode.FAILED, f"valerix queue requeue {order().order_id}")
    assert error.why.startswith("attempts-exhausted: All attempts were used up")
