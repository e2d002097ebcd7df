"""`valerix explain CODE`: the error reference."""

from difflib import get_close_matches
from typing import Annotated

import typer

from valerix_cli.error_reference import ENTRIES, Entry, lookup
from valerix_cli.errors import BadUsageError
from valerix_cli.output import print_result
from valerix_cli.output_models import Explanation
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.views import toolbox as views


def explain(
    ctx: typer.Context,
    code: Annotated[str | None, typer.Argument(metavar="[CODE]", help="Omit to list all.")] = None,
) -> None:
    """Explain an exit code, a problem, an order status, a breaker state or a gremlin, and what to do."""
    session: Session = ctx.obj
    if code is None:
        print_result([_explanation(entry) for entry in ENTRIES], views.codes_view, session.output)
        return
    found = lookup(code)
    if not found:
        near = get_close_matches(code, [entry.code for entry in ENTRIES], n=1)
        hint = command("valerix explain", near[0]) if near else "valerix explain, for all of them"
        raise BadUsageError(f"Unknown code {code!r}.", "it is not a code of Valerix", hint)
    print_result([_explanation(entry) for entry in found], views.explanations_view, session.output)


def _explanation(entry: Entry) -> Explanation:
    return Explanation(entry.kind, entry.code, entry.meaning, entry.why, entry.do)
