"""The explanation of a code."""

from dataclasses import dataclass
from typing import Literal

from valerix_cli.errors import CliError

Kind = Literal["exit code", "problem", "order status", "cause", "breaker state", "gremlin", "invariant"]


@dataclass(frozen=True)
class Entry:
    """One code, explained."""

    kind: Kind
    code: str
    meaning: str
    why: str
    do: str


@dataclass(frozen=True)
class Problem(Entry):
    """A problem of a service, and the error of a command for it."""

    error: type[CliError] = CliError
