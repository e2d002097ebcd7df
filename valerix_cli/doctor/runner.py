"""Runs all looks at once, and waits for none of them longer than it may take."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread

from valerix_cli.doctor.findings import Examination, Finding, one_line
from valerix_cli.doctor.model import GROUPS
from valerix_cli.errors import CliError
from valerix_cli.units import format_duration


def run(examinations: Sequence[Examination], within: float) -> list[Finding]:
    """Run all checks and return their results by group, within `within` seconds."""
    deadline = time.monotonic() + within
    looks = [_Look(one) for one in examinations]
    found = [finding for look in looks for finding in look.found(deadline, within)]
    return sorted(found, key=lambda finding: GROUPS.index(finding.check.group))


class _Look:
    """One that is under way, in a thread that the end of the command does not wait for: what hangs is left hanging."""

    def __init__(self, examination: Examination) -> None:
        self._examination = examination
        self._found: list[Finding] = []
        self._ended: Future[None] = Future()
        Thread(target=self._work, daemon=True).start()

    def found(self, deadline: float, within: float) -> list[Finding]:
        """All it has found, and what kept it from finding more, if anything did."""
        about, hint = self._examination.about, self._examination.when_stuck
        try:
            self._ended.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return [*self._found, about.failed(f"There was no response within {format_duration(within)}.", hint)]
        except CliError as error:
            return [*self._found, about.refused(error)]
        except Exception as error:  # noqa: BLE001 - a bug in one look must not hide what the others found
            why = one_line(f"{type(error).__name__}: {error}")
            return [*self._found, about.failed(f"It could not be examined: {why}", hint)]
        return self._found

    def _work(self) -> None:
        try:
            for finding in self._examination.look():
                self._found.append(finding)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)
