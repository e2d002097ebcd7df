"""Transactions are opened by use cases only, so that one function shows all that a request reads and writes."""

import ast
from collections.abc import Iterator
from pathlib import Path

SERVICES = Path(__file__).parents[2] / "services"
ALLOWED = {"order/usecases.py", "inventory/usecases.py"}


def connections_opened(file: Path) -> Iterator[int]:
    """Yield the lines of a module that take a connection from a pool."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connection":
            yield node.lineno


def test_only_use_cases_take_connections_from_the_pool() -> None:
    modules = [file for service in ("order", "inventory", "frontend") for file in (SERVICES / service).rglob("*.py")]
    opened = {str(file.relative_to(SERVICES)) for file in modules if any(connections_opened(file))}
    assert opened == ALLOWED
