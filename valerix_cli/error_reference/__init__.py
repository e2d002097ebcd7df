"""The meaning, causes and remedies of every code: for `valerix explain` and the three lines of an error."""

from valerix_cli.error_reference.entry import Entry, Problem
from valerix_cli.error_reference.exit_codes import EXIT_CODES
from valerix_cli.error_reference.invariants import INVARIANTS
from valerix_cli.error_reference.problems import PROBLEMS
from valerix_cli.error_reference.states import CAUSES, GREMLINS, STATES, STATUSES

__all__ = ["ENTRIES", "PROBLEMS", "Entry", "Problem", "lookup", "meaning", "problem"]

ENTRIES: tuple[Entry, ...] = (*EXIT_CODES, *PROBLEMS, *STATUSES, *CAUSES, *STATES, *GREMLINS, *INVARIANTS)
_PROBLEMS_BY_SLUG = {problem.code: problem for problem in PROBLEMS}


def problem(slug: str) -> Problem | None:
    return _PROBLEMS_BY_SLUG.get(slug)


def meaning(code: str) -> str:
    """Return the meaning of a code, as one sentence."""
    return next((entry.meaning for entry in lookup(code)), "no more is known about it")


def lookup(code: str) -> list[Entry]:
    """Return every entry of that code; a prefix `urn:valerix:problem:` is ignored."""
    normalized = code.lower().removeprefix("urn:valerix:problem:")
    return [entry for entry in ENTRIES if entry.code == normalized]
