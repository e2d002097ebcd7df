"""Runs all checks concurrently, each with a time limit."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread

from valerix_cli.doctor.findings import CheckTask, Finding, one_line
from valerix_cli.doctor.model import GROUPS
from valerix_cli.doctor.processes import silent
from valerix_cli.errors import CliError
from valerix_cli.units import format_duration


def run(check_tasks: Sequence[CheckTask], within: float) -> list[Finding]:
    """Run all checks and return their results by group, within `within` seconds."""
    deadline = time.monotonic() + within
    running = [_RunningCheck(one) for one in check_tasks]
    found = [finding for check in running for finding in check.found(deadline, within)]
    return sorted(found, key=lambda finding: GROUPS.index(finding.check.group))


class _RunningCheck:
    """A check in a daemon thread, so that a check that hangs does not keep the command from ending."""

    def __init__(self, task: CheckTask) -> None:
        self._task = task
        self._found: list[Finding] = []
        self._ended: Future[None] = Future()
        Thread(target=self._work, daemon=True).start()

    def found(self, deadline: float, within: float) -> list[Finding]:
        """Return its findings, with one more if it failed with an error or at the deadline."""
        about, hint = self._task.about, self._task.timeout_hint
        try:
            self._ended.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            why = f"There was no response within {format_duration(within)}."
            return [*self._found, silent(about, self._task.pid, why, hint)]
        except CliError as error:
            return [*self._found, about.refused(error)]
        except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the findings of others
            why = one_line(f"{type(error).__name__}: {error}")
            return [*self._found, about.failed(f"The check failed: {why}", hint)]
        return self._found

    def _work(self) -> None:
        try:
            for finding in self._task.check():
                self._found.append(finding)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)
