"""The doctor runs its checks, concludes from their findings, and prints them."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.samples import NOON
from valerix_cli.commands.doctor import error_of
from valerix_cli.doctor.diagnose import apply_fixes, diagnose
from valerix_cli.doctor.environment import Limits, Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject
from valerix_cli.doctor.model import Diagnosis
from valerix_cli.doctor.runner import run
from valerix_cli.errors import UnreachableError
from valerix_cli.output import Output, print_result
from valerix_cli.views.doctor import diagnosis_view

POSTGRES, CLOCK, PYTHON = Subject("databases", "postgres"), Subject("clock", "postgres"), Subject("machine", "python")
FINE = PYTHON.ok("Python 3.11.7 on Linux x86_64.")


def looking(check: Callable[[], Iterable[Finding]]) -> CheckTask:
    return CheckTask(POSTGRES, check, "valerix logs postgres")


def diagnosed(*findings: Finding, fixed: tuple[str, ...] = ()) -> Diagnosis:
    return diagnose(Setup("local", Path("/state"), {}, None), findings, list(fixed), at=NOON, seconds=0.4)


def shown(found: Diagnosis, capsys: pytest.CaptureFixture[str]) -> str:
    print_result(found, diagnosis_view, Output())
    return capsys.readouterr().out


def test_a_check_that_hangs_times_out_and_is_named() -> None:
    forever = threading.Event()
    began = time.monotonic()
    hung, fine = looking(lambda: [FINE] if forever.wait() else []), CheckTask(PYTHON, lambda: [FINE], "")
    first, second = run([hung, fine], within=0.1)
    assert time.monotonic() - began < 2
    assert first == FINE
    assert second.check.status == "failed"
    assert second.check.found == "There was no response within 100 ms."
    assert second.check.hint == "valerix logs postgres"
    forever.set()


def test_checks_run_concurrently() -> None:
    both = threading.Barrier(2, timeout=5)

    def meet() -> list[Finding]:
        both.wait()
        return [FINE]

    assert run([looking(meet), looking(meet)], within=10) == [FINE, FINE]


def test_a_bug_in_one_check_does_not_hide_findings_of_others() -> None:
    def trip() -> Iterator[Finding]:
        yield FINE
        raise ZeroDivisionError("a bug")

    before, beside, broken = run([looking(trip), CheckTask(PYTHON, lambda: [FINE], "")], within=5)
    assert (before, beside) == (FINE, FINE)
    assert broken.check.found == "The check failed: ZeroDivisionError: a bug."


def test_a_command_error_in_a_check_becomes_a_failed_finding() -> None:
    def refuse() -> list[Finding]:
        raise UnreachableError("There is no Valkey.", "the wheels hold none", "set VALERIX_REDIS_URL")

    [refused] = run([looking(refuse)], within=5)
    assert (refused.check.status, refused.check.hint) == ("failed", "set VALERIX_REDIS_URL")
    assert refused.check.found == "There is no Valkey: the wheels hold none."


def test_findings_are_grouped_in_a_fixed_order() -> None:
    late, early = looking(lambda: [CLOCK.ok("It agrees.")]), looking(lambda: [POSTGRES.ok("It answers."), FINE])
    assert [one.check.group for one in run([late, early], within=5)] == ["machine", "databases", "clock"]


def test_a_request_times_out_after_half_the_time_of_a_check() -> None:
    assert Limits.within(1).answer == 0.5
    assert Limits.within(60).answer == Limits().answer == 2


def test_the_worst_finding_is_the_verdict_and_only_failed_exits_with_3() -> None:
    skipped, warning = CLOCK.skipped("Nobody tells."), CLOCK.warning("It is late.", "date -u")
    failed = POSTGRES.failed("It is unreachable.", "valerix logs postgres")
    assert diagnosed(FINE, skipped).verdict == "ok"
    assert diagnosed(skipped).verdict == diagnosed().verdict == "warning"
    assert diagnosed(FINE, warning).verdict == "warning"
    assert error_of(diagnosed(FINE, skipped, warning)) is None
    found = diagnosed(warning, failed, FINE)
    error = error_of(found)
    assert found.verdict == "failed"
    assert error is not None
    assert (error.code, error.hint) == (3, "valerix logs postgres")
    assert error.why == "databases: postgres; first: It is unreachable."


def test_a_failed_fix_is_reported_and_the_others_are_applied() -> None:
    def cannot() -> str:
        raise PermissionError(13, "Permission denied")

    one = POSTGRES.failed("Others may read it.", "chmod 600", cannot)
    other = CLOCK.warning("It is stale.", "rm", lambda: "It was removed.")
    assert (one.check.fixable, FINE.check.fixable) == (True, False)
    assert apply_fixes([one, FINE, other]) == [
        "postgres: not fixed, permission denied.",
        "It was removed.",
    ]


def test_findings_are_shown_with_their_hint_and_status_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    failed = POSTGRES.failed("It is unreachable: \x1b[2J", "valerix logs postgres")
    lines = shown(diagnosed(FINE, failed), capsys).splitlines()
    assert lines[1:4] == [
        "machine",
        "  python    ok      Python 3.11.7 on Linux x86_64.",
        "databases",
    ]
    assert lines[4].split()[:3] == ["postgres", "failed", "It"]
    assert lines[5].strip() == "try: valerix logs postgres"
    assert lines[-1] == "1 ok, 1 failed, in 400 ms."
    assert not any("\x1b" in line for line in lines)


def test_a_hint_is_shown_once_for_all_skipped_checks(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = [about.skipped("No platform runs here.", "valerix up --detach") for about in (POSTGRES, CLOCK)]
    assert shown(diagnosed(*skipped), capsys).count("valerix up --detach") == 1
    failed = [about.failed("It is old.", "valerix down") for about in (POSTGRES, CLOCK)]
    assert shown(diagnosed(*failed), capsys).count("valerix down") == 2


def test_a_check_that_times_out_on_a_stopped_process_names_the_command_that_resumes_it() -> None:
    over = threading.Event()

    def hang() -> list[Finding]:
        over.wait(30)
        return []

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGSTOP)
        try:
            task = CheckTask(POSTGRES, hang, "valerix logs postgres", process.pid)
            [finding] = run([task], 0.3)
        finally:
            over.set()
            process.kill()
    assert (finding.check.status, finding.check.hint) == ("failed", f"kill -CONT {process.pid}")
