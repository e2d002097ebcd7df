"""YAML as YAML 1.2 reads it: with its lines, without a second meaning, and no field twice.

PyYAML is of YAML 1.1, to which `010` is 8, `no` is false and `1:30` is 90; and of a key that comes twice it takes the
last.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Path: TypeAlias = list[str | int]
"""The names and numbers that lead to a place in a document."""


class _Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2's core schema that a drill has: https://yaml.org/spec/1.2.2/#103-core-schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML has it


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", "[-+]?(?:0|[1-9][0-9]{0,17})", [*"-+0123456789"]),  # a longer one is no number that somebody means
    ("float", r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})", [*"-+.0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


class Document:
    """A document, what it says, and where."""

    def __init__(self, text: str) -> None:
        """Raises yaml.YAMLError, and RecursionError for what is nested too deeply or in itself."""
        self._root = yaml.compose(text, Loader=_Loader)
        self.value = _with_text_names(yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader # nosec B506

    def line(self, path: Path) -> int:
        """The line, from 1, of what `path` leads to, or of its last step that is there."""
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

    def repeated(self) -> Iterator[tuple[int, str, int]]:
        """The line of each field that comes again, its name, and the line where it came first."""
        yield from _repeated(self._root, set())


def _with_text_names(value: Any) -> Any:
    """The value with every name a text, as it is written where a field is asked for: `5: x` has a field `5`."""
    match value:
        case dict():
            return {str(name): _with_text_names(part) for name, part in value.items()}
        case list():
            return [_with_text_names(part) for part in value]
        case _:
            return value


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[tuple[int, str, int]]:
    if node is None or id(node) in seen:  # what an alias names is looked at once
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value, seen)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in first:
                yield line, name, first[name]
            first.setdefault(name, line)
            yield from _repeated(value, seen)
