"""The console script: finds the command, runs it, and converts all errors to exit codes."""

import re
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from valerix_cli import __version__
from valerix_cli.errors import BadUsageError, CliError, ExitCode
from valerix_cli.local.environment import forget_libpq
from valerix_cli.output import flush, print_error, print_plain, print_traceback
from valerix_cli.session import Session
from valerix_cli.signals import is_ignored
from valerix_cli.streams import discard, guard_standard_streams
from valerix_cli.typer_app import App, LazyCommand, Target

PLATFORM = "The platform"
ORDERS = "Orders and stock"
FAULTS = "Faults and recovery"
CLUSTER = "Beyond this machine"
TOOLBOX = "Toolbox"


def _target(name: str, panel: str, summary: str, *, alone: bool = False, online: bool = True) -> Target:
    return Target(name, summary, panel, f"valerix_cli.commands.{name}", name if alone else "app", online)


TARGETS = [
    _target("up", PLATFORM, "Start the platform on this machine.", alone=True, online=False),
    _target("down", PLATFORM, "Stop the platform on this machine.", alone=True, online=False),
    _target("status", PLATFORM, "Show running services and their health.", alone=True),
    _target("top", PLATFORM, "Watch everything at once, live.", alone=True, online=False),  # it shows gremlins itself
    _target("dashboard", PLATFORM, "Open the dashboard, signed in.", alone=True, online=False),
    _target("logs", PLATFORM, "Show the logs of the services.", alone=True),
    _target("alerts", PLATFORM, "Show firing alerts, and why they fire.", alone=True, online=False),
    _target("order", ORDERS, "Place, replay, list, watch and trace orders."),
    _target("load", ORDERS, "Send many orders and measure the responses.", alone=True),
    _target("stock", ORDERS, "Show, restock and watch the stock."),
    _target("chaos", FAULTS, "Turn gremlins on and off.", online=False),  # it shows active gremlins itself
    _target("breaker", FAULTS, "Show and force the circuit breaker."),
    _target("queue", FAULTS, "Show queued orders and requeue dead ones."),
    _target("audit", FAULTS, "Prove that each key had exactly one effect.", alone=True),
    _target("drill", FAULTS, "Run chaos drills: faults under load, gates, an audit, a receipt."),
    _target("demo", FAULTS, "Present the platform step by step, with faults and proofs.", alone=True),
    _target("cluster", CLUSTER, "Check, apply and watch the platform in a Kubernetes cluster.", online=False),
    _target("doctor", TOOLBOX, "Find problems with this installation and how to fix them.", alone=True, online=False),
    _target("context", TOOLBOX, "Choose the platform to use.", online=False),
    _target("api", TOOLBOX, "Call an endpoint and show the raw response.", alone=True),
    _target("explain", TOOLBOX, "Explain an exit code, a problem or a status.", alone=True, online=False),
    _target("schema", TOOLBOX, "Print the JSON Schema of a result.", alone=True, online=False),
    _target("version", TOOLBOX, "Print the version.", alone=True, online=False),
]


def _print_version(requested: bool) -> None:  # noqa: FBT001 - how Typer calls it
    if requested:
        print_plain(__version__)
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Run an order platform, break it on purpose, and prove that nothing was lost."""


def build() -> TyperGroup:
    """Return the whole command line; a command's module is imported when it is called."""
    app = App("Run an order platform, break it on purpose, and prove that nothing was lost.", completion=True)
    app.callback()(root)
    group = cast("TyperGroup", get_command(app))
    for target in TARGETS:
        group.add_command(LazyCommand(target))
    return group


def run() -> NoReturn:
    """Run the command line of this process, and exit."""
    forget_libpq()
    guard_standard_streams()
    _take_signals()
    code = execute(sys.argv[1:])
    sys.exit(flush(code))


def _take_signals() -> None:
    """Convert signals to exceptions, so that `finally` blocks run as for Ctrl-C.

    SIGINT stays ignored if it was inherited so, as in Python itself.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.TERMINATED))
    if is_ignored(signal.SIGHUP):
        return
    on_terminal = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def hang_up(*_: object) -> NoReturn:
        for stream in on_terminal:
            discard(stream)
        sys.exit(ExitCode.HUNG_UP)

    signal.signal(signal.SIGHUP, hang_up)


def execute(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; an error has been printed by then."""
    try:
        code = build().main([*arguments], prog_name="valerix", standalone_mode=False, obj=Session())
    except CliError as error:
        print_error(error)
        code = error.code
    except typer.TyperException as error:  # usage errors
        print_error(_bad_usage(error))
        code = ExitCode.BAD_USAGE
    except typer.Abort:  # a prompt was aborted
        code = ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is reported in three lines as well
        if {"-v", "--verbose"} & set(arguments):
            print_traceback(error)
        print_error(_bug(error))
        code = ExitCode.FAILED
    return int(code or ExitCode.DONE)


_IN_WORDS = [
    (re.compile(pattern), words)
    for pattern, words in (
        ("Value error, ", ""),
        (
            r"(?:Input should be a valid integer|Unable to parse input string as an integer)(?:, .*)?",
            "it has to be a whole number",
        ),
        (r"Input should be a valid number(?:, .*)?|Input should be a finite number", "it has to be a number"),
        (r"Input should be a valid UUID(?:, .*)?", "it has to be a UUID, such as 0b5cf9d2-8d1e-5f0e-9d64-2f5d8d3d6a10"),
        (r"Input should be greater than or equal to ", "it has to be at least "),
        (r"Input should be less than or equal to ", "it has to be at most "),
        (r"Input should be ", "it has to be "),
        (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", r"unexpected argument: \1"),
    )
]
"""Messages of the option parser, and their replacements."""


def _bad_usage(error: typer.TyperException) -> BadUsageError:
    ctx = getattr(error, "ctx", None)
    message = error.format_message()
    for pattern, words in _IN_WORDS:
        message = pattern.sub(words, message)
    why = re.sub(r"\S{60,}", lambda word: f"{word[0][:40]}…", message)  # long values are shortened
    if ctx is None:
        return BadUsageError("Unknown command.", why, "valerix --help")
    return BadUsageError(f"Invalid arguments for `{ctx.command_path}`.", why, f"{ctx.command_path} --help")


def _bug(error: Exception) -> CliError:
    why = f"{type(error).__name__}: {error}"
    return CliError("Internal error in valerix.", why, "add -v for a traceback")
