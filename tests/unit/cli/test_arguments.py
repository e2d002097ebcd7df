"""Every option and argument of every command, as declared: a value is used or refused."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args
from uuid import UUID

import pytest

from valerix_cli.errors import ExitCode
from valerix_cli.main import build, execute
from valerix_cli.options import GLOBAL_OPTIONS
from valerix_cli.typer_app import LazyCommand

LIBRARY = ("Input should", "Value error", "nable to parse", "unexpected extra", "Traceback", "<class")
FAR_TOO_MANY = "9" * 400
DURATIONS = ("0", "0s", "0ms", "-1s", "1e400", FAR_TOO_MANY, "9000h", "nan", "inf", "\N{ARABIC-INDIC DIGIT FIVE}s")
RATES = ("0", "0/s", "0%", "-1/s", "1e400", f"{FAR_TOO_MANY}/s", "nan", "inf", "\N{ARABIC-INDIC DIGIT FIVE}/s")
SHARES = ("101%", "1.1", "-0.1", FAR_TOO_MANY, "nan", "inf", "1e-1", "\N{ARABIC-INDIC DIGIT ONE}")
NUMBERS = (FAR_TOO_MANY, str(2**53), f"-{FAR_TOO_MANY}", "1.5", "nan")


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command that can be run, with the words to type for it."""
    command = command or build()
    if isinstance(command, LazyCommand):
        command = command.load()
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands())


def takes_value(param: Any) -> bool:
    return param.param_type_name == "option" and not param.is_flag and param.name != "help"


def is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def is_number(param: Any) -> bool:
    return int in get_args(param.type_descriptor.annotation) or param.type_descriptor.annotation is int


OPTIONS = [
    (path, param)
    for path, command in COMMANDS.items()
    for param in (*command.params, *GLOBAL_OPTIONS)
    if takes_value(param)
]
ARGUMENTS = [path for path, command in COMMANDS.items() if any(map(is_argument, command.params))]


def refusal_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that has to be refused; return its stderr."""
    assert execute(arguments) == ExitCode.BAD_USAGE, arguments
    printed = capsys.readouterr()
    assert not printed.out
    assert "Invalid arguments for" in printed.err
    assert not [words for words in LIBRARY if words in printed.err], printed.err
    assert len(printed.err) < 400  # however long the value is
    return printed.err


def name_of(param: Any) -> str:
    return str(max(param.opts, key=len))


@pytest.mark.parametrize(
    ("path", "param"), OPTIONS, ids=lambda each: " ".join(each) if isinstance(each, tuple) else None
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_an_option_without_a_value_is_refused_with_its_name(
    path: tuple[str, ...], param: Any, blank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    option = name_of(param)
    assert option in refusal_of([*path, option, blank], capsys)
    assert option in refusal_of([*path, f"{option}={blank}"], capsys)


@pytest.mark.parametrize("path", ARGUMENTS, ids=" ".join)
def test_an_empty_argument_is_refused(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "An argument is empty" in refusal_of([*path, ""], capsys)


def wrong_values() -> Iterator[Any]:
    """Yield each option that takes a number, with each invalid value."""
    by_metavar = {"DURATION": DURATIONS, "RATE": RATES, "SHARE": SHARES}
    for path, param in OPTIONS:
        wrong = by_metavar.get(str(param.metavar), NUMBERS if is_number(param) else ())
        for value in wrong:
            yield pytest.param(path, name_of(param), value, id=f"{' '.join(path)} {name_of(param)} {value[:20]}")


def spelled(each: object) -> str | None:
    return " ".join(each) if isinstance(each, tuple) else None


def has_a_kind(param: Any) -> bool:
    """Return True if the parameter is a number, an enumeration, or a UUID."""
    annotation = param.type_descriptor.annotation
    return any(
        kind in {int, UUID} or (isinstance(kind, type) and issubclass(kind, Enum))
        for kind in (annotation, *get_args(annotation))
    )


OF_A_KIND = [(path, name_of(param)) for path, param in OPTIONS if has_a_kind(param)]
ARGUMENTS_OF_A_KIND = {
    path: [*filter(is_argument, command.params)]
    for path, command in COMMANDS.items()
    if any(is_argument(param) and has_a_kind(param) for param in command.params)
}


@pytest.mark.parametrize(("path", "option"), OF_A_KIND, ids=spelled)
def test_an_option_of_the_wrong_type_is_refused_in_plain_words(
    path: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert option in refusal_of([*path, f"{option}=@wrong"], capsys)


@pytest.mark.parametrize(("path", "arguments"), ARGUMENTS_OF_A_KIND.items(), ids=spelled)
def test_an_argument_of_the_wrong_type_is_refused_in_plain_words(
    path: tuple[str, ...], arguments: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    refusal_of([*path, *["@wrong"] * len(arguments)], capsys)


@pytest.mark.parametrize("path", [("status",), ("stock", "restock", "ps5", "1")], ids=" ".join)
def test_a_superfluous_argument_is_reported(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "unexpected argument: surplus" in refusal_of([*path, "surplus"], capsys)
