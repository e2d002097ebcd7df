"""Mutants: edits of the source of functions in a process that is about to become a service.

An edit whose text is not found is an error, so that a mutant cannot turn into the original unnoticed when the code
changes.
"""

import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import LiteralString

import msgspec
import psycopg

PRELUDE = "VALERIX_PRELUDE"
MUTANT = "VALERIX_MUTANT"
INVENTORY_DATABASE = "VALERIX_MUTANT_INVENTORY_DATABASE"


class MutantError(Exception):
    """The text that a mutant replaces was not found."""


class Edit(msgspec.Struct, frozen=True):
    """Replacements in one function, named `module:function`: every occurrence of each text."""

    function: str
    changes: Mapping[str, str]


class Mutant(msgspec.Struct, frozen=True):
    """One bug, and the invariant that it has to violate. `only` names the processes that have it, if not all do."""

    name: str
    mistake: str
    breaks: str
    edits: tuple[Edit, ...] = ()
    order_statements: tuple[LiteralString, ...] = ()
    inventory_statements: tuple[LiteralString, ...] = ()
    only: tuple[str, ...] = ()

    def alter(self, order_database: str, inventory_database: str) -> None:
        """Make the changes to the databases that this mutant needs."""
        for url, statements in (
            (order_database, self.order_statements),
            (inventory_database, self.inventory_statements),
        ):
            with psycopg.connect(url) as conn:
                for statement in statements:
                    conn.execute(statement)

    def environ(self, inventory_database: str) -> dict[str, str]:
        """Return the environment variables that make a process this mutant."""
        return {PRELUDE: "tests.faults.mutants:switch_on", MUTANT: self.name, INVENTORY_DATABASE: inventory_database}


def apply(edit: Edit) -> None:
    """Change a function in place, so that modules that imported it by name use the changed one too."""
    function = pkgutil.resolve_name(edit.function)
    function.__code__ = edited(function, edit.changes)


def edited(function: Callable[..., object], changes: Mapping[str, str]) -> CodeType:
    """Compile `function` with its text changed. Raises MutantError if the text is not found."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes.items():
        if old not in source:
            raise MutantError(f"{function.__qualname__} no longer says {old!r}")
        source = source.replace(old, new)
    made: dict[str, FunctionType] = {}
    exec(source, vars(sys.modules[function.__module__]), made)  # noqa: S102 - our own source, with our own change
    return made[function.__name__].__code__
