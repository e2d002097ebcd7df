"""`valerix doctor`: problems of this installation, and their fixes."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from valerix_cli.errors import CliError, UnreachableError
from valerix_cli.output import info, print_result, spinner
from valerix_cli.session import Session

if TYPE_CHECKING:
    from valerix_cli.doctor.model import Diagnosis


def doctor(
    ctx: typer.Context,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed without losing data, and check again.")
    ] = False,
) -> None:
    """Find problems with this installation and how to fix them; exit 3 if a check failed.

    Runs all checks at once, within ten seconds (--timeout), and changes nothing without --fix.
    """
    session: Session = ctx.obj
    with spinner("running checks", session.output):
        found = run_diagnosis(session, fix=fix)
    from valerix_cli.views.doctor import diagnosis_view  # noqa: PLC0415 - --help must not pay for it

    for sentence in found.fixed:
        info(sentence, session.output)
    if fix and not found.fixed:
        info("There is nothing that can be fixed automatically.", session.output)
    print_result(found, diagnosis_view, session.output)
    if error := error_of(found):
        raise error


def run_diagnosis(session: Session, *, fix: bool) -> "Diagnosis":
    """Return the diagnosis of the session's context. With `fix`, apply fixes first and check again."""
    from valerix_cli.doctor import diagnose  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.doctor.environment import Limits, read_setup, time_of_day  # noqa: PLC0415 - the same

    limit = session.settings.setting("timeout").value
    limits = Limits.within(limit) if limit else Limits()
    at, began = time_of_day(), time.monotonic()
    setup = read_setup(session.settings, os.environ, limits)
    findings = diagnose.run_checks(setup)
    fixed = diagnose.apply_fixes(findings) if fix else []
    if fixed:
        setup = read_setup(session.settings, os.environ, limits)
        findings = diagnose.run_checks(setup)
    return diagnose.diagnose(setup, findings, fixed, at=at, seconds=time.monotonic() - began)


def error_of(found: "Diagnosis") -> CliError | None:
    """Return the error to exit with; None if no check failed."""
    failed = [check for check in found.checks if check.status == "failed"]
    if not failed:
        return None
    first = failed[0]
    what = "A check failed." if len(failed) == 1 else f"{len(failed)} checks failed."
    named = ", ".join(f"{check.group}: {check.name}" for check in failed)
    return UnreachableError(what, f"{named}; first: {first.found}", first.hint or "valerix doctor")
