"""Reads a YAML 1.2 document with the line of each value, and finds duplicate keys.

PyYAML implements YAML 1.1, in which `010` is 8, `no` is false and `1:30` is 90, and takes the last of duplicate keys.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Path: TypeAlias = list[str | int]
"""The keys and indexes that lead to a value in a document."""


class _Loader(yaml.SafeLoader):
    """Resolves the scalars of YAML 1.2's core schema: https://yaml.org/spec/1.2.2/#103-core-schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML has it


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", "[-+]?(?:0|[1-9][0-9]{0,17})", [*"-+0123456789"]),  # longer numbers stay text
    ("float", r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})", [*"-+.0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


class Document:
    """A document: its value, and the line of each part."""

    def __init__(self, text: str) -> None:
        """Raises yaml.YAMLError, and RecursionError for values nested too deeply or in themselves."""
        self._root = yaml.compose(text, Loader=_Loader)
        self.value = _with_string_keys(yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader # nosec B506

    def line(self, path: Path) -> int:
        """Return the line, from 1, of the value at `path` or of its innermost existing parent."""
        node = self._root
        line = node.start_mark.line if node else 0
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == step), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                break
        return int(line) + 1

    def duplicate_keys(self) -> Iterator[tuple[int, str, int]]:
        """Yield the line of each duplicate key, its name, and the line of its first occurrence."""
        yield from _duplicate_keys(self._root, set())


def _with_string_keys(value: Any) -> Any:
    """Return the value with all keys as strings: `5: x` has the key `5`."""
    match value:
        case dict():
            return {str(name): _with_string_keys(part) for name, part in value.items()}
        case list():
            return [_with_string_keys(part) for part in value]
        case _:
            return value


def _duplicate_keys(node: yaml.Node | None, visited: set[int]) -> Iterator[tuple[int, str, int]]:
    if node is None or id(node) in visited:  # an alias
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicate_keys(value, visited)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in first:
                yield line, name, first[name]
            first.setdefault(name, line)
            yield from _duplicate_keys(value, visited)
