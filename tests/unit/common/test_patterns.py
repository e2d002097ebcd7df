"""The pattern of each field of a body, setting or drill file matches whole values only."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

import services
import valerix_cli.drills


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith(("asgi", "worker", "migrate")):  # these run when they are imported
            yield importlib.import_module(found.name)


def patterns(kind: Any) -> Iterator[str]:
    """Yield the patterns of a type, at any depth."""
    if isinstance(kind, msgspec.inspect.StrType) and kind.pattern:
        yield kind.pattern
    for part in getattr(kind, "__struct_fields__", ()):
        value = getattr(kind, part)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, msgspec.inspect.Type | msgspec.inspect.Field):
                yield from patterns(one)


STRUCTS = {
    kind
    for package in (services, valerix_cli.drills)
    for module in modules(package)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
}


def info(kind: type[msgspec.Struct]) -> msgspec.inspect.Type | None:
    try:
        return msgspec.inspect.type_info(kind)
    except TypeError:  # it is only created here, never parsed
        return None


FOUND = {pattern for kind in STRUCTS for pattern in patterns(info(kind))}


def test_patterns_are_found() -> None:
    assert len(FOUND) >= 5


@pytest.mark.parametrize("pattern", sorted(FOUND))
def test_no_pattern_lets_a_final_line_break_pass(pattern: str) -> None:
    """A single `$` would allow it: it also matches before a line break."""
    assert not pattern.endswith("$")
