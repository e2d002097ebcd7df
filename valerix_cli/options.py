"""The global options, before or after a command's name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.main import get_command

from valerix_cli.units import parse_positive_duration

MOST = 2**53 - 1  # the maximum of counts and seeds: JSON represents these exactly (RFC 8259, 6)


class Format(StrEnum):
    """The format of a result on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"


@dataclass(frozen=True)
class GlobalOptions:
    """Options of the command line; None for one that was not given."""

    output: Format | None = None
    context: str | None = None
    quiet: bool = False
    verbose: bool = False
    no_input: bool = False
    yes: bool = False
    timeout: float | None = None
    insecure_token: bool = False


def _keep(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Pass an option to the session; the last one given (nearest to the command) applies."""
    if value not in (None, False) and ctx.obj is not None:
        ctx.obj = ctx.obj.with_option(str(param.name), value)


def _global_options(  # noqa: PLR0913 - one parameter per option
    *,
    output: Annotated[
        Format | None,
        typer.Option("--output", "-o", help="Output format.", callback=_keep, expose_value=False),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="NAME", help="The platform to use.", callback=_keep, expose_value=False),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print results and errors only.", callback=_keep, expose_value=False),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log every HTTP request.", callback=_keep, expose_value=False),
    ] = False,
    no_input: Annotated[
        bool,
        typer.Option("--no-input", help="Never ask; refuse instead.", callback=_keep, expose_value=False),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Answer yes to every question.", callback=_keep, expose_value=False),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=parse_positive_duration,
            help="How long to wait for a response or a condition.",
            callback=_keep,
            expose_value=False,
        ),
    ] = None,
    insecure_token: Annotated[
        bool,
        typer.Option(
            "--insecure-token",
            help="Allow sending the token over plain http to another machine.",
            callback=_keep,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Declare the global options; never called."""


def _declared() -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_global_options)
    return list(get_command(app).params)


GLOBAL_OPTIONS = _declared()
