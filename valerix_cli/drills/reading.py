"""Drill files: read strictly, so that a slip of the pen is an error with its line and the nearest name."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from valerix_cli.audit import model as audit
from valerix_cli.drills.model import ITEM, NAME, SERVICE, TARGET, Drill
from valerix_cli.drills.units import read
from valerix_cli.errors import BadUsageError

T = TypeVar("T")

SHIPPED = Path(__file__).with_name("shipped")
_AT = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_NO_CHOICE = re.compile(r"nvalid enum value '?(.+?)'?$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_PATTERNS = {
    TARGET: "a process is one of order, inventory, worker (or order-1 for one replica), redis, postgres",
    SERVICE: "a service is one of order, inventory, worker",
    NAME: "a name is made of a-z, 0-9 and -, at most 63 of them",
    ITEM: "an item is named by A-Z a-z 0-9 _ . : -, at most 64 of them",
}
INVARIANTS = [rule.name for rule in vars(audit).values() if isinstance(rule, audit.Rule)]


class DrillFile(msgspec.Struct, frozen=True):
    """A drill with the text it was read from and the name of where that was."""

    drill: Drill
    text: str
    origin: str


def find(wanted: str) -> DrillFile:
    """The drill in a file of that name, or the shipped one called so. Raises BadUsageError."""
    path = Path(wanted)
    if path.suffix in {".yaml", ".yml"} or "/" in wanted or path.is_file():
        try:
            return DrillFile(parse(text := path.read_text(), wanted), text, wanted)
        except (OSError, UnicodeDecodeError) as error:
            why = f"{wanted}: {getattr(error, 'strerror', None) or error}"
            raise BadUsageError("The drill cannot be read.", why, "valerix drill list") from error
    known = {drill.drill.name: drill for drill in shipped()}
    if wanted not in known:
        near = get_close_matches(wanted, known, n=1, cutoff=0)
        raise BadUsageError(
            f"There is no drill called `{wanted}`.", f"shipped are {', '.join(known)}", f"valerix drill show {near[0]}"
        )
    return known[wanted]


def shipped() -> Iterator[DrillFile]:
    """The drills that come with Valerix, by name."""
    for path in sorted(SHIPPED.glob("*.yaml")):
        text = path.read_text()
        yield DrillFile(parse(text, path.name), text, path.name)


def parse(text: str, origin: str) -> Drill:
    """The drill that `text` describes. Raises BadUsageError saying in which line it goes wrong, and how."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise _wrong(origin, line, str(getattr(error, "problem", None) or error)) from None
    try:
        drill = msgspec.convert(raw, Drill, dec_hook=read)
    except msgspec.ValidationError as error:
        where = _AT.search(str(error))
        path = _STEP.findall(where[1]) if where else []
        raise _explained(_AT.sub("", str(error)), path, root, origin) from None
    for number, name in enumerate([] if drill.invariants == "all" else drill.invariants):
        if name not in INVARIANTS:
            near = get_close_matches(name, INVARIANTS, n=1, cutoff=0)[0]
            line = _line(root, [("invariants", ""), ("", str(number))])
            raise _wrong(origin, line, f"there is no invariant `{name}`; perhaps `{near}`")
    return drill


def _explained(said: str, path: list[tuple[str, str]], root: yaml.Node | None, origin: str) -> BadUsageError:
    if unknown := _UNKNOWN.search(said):
        names = [field.encode_name for field in _option(_type_at(path), msgspec.inspect.StructType).fields]
        near = get_close_matches(unknown[1], names, n=1, cutoff=0)
        line = _line(root, [*path, (unknown[1], "")])
        return _wrong(origin, line, f"there is no field `{unknown[1]}`; perhaps `{near[0]}`")
    if wrong := _NO_CHOICE.search(said):
        choices = [str(value) for value in _option(_type_at(path), msgspec.inspect.LiteralType).values]
        near = get_close_matches(wrong[1], choices, n=1, cutoff=0)
        said = f"`{wrong[1]}` is none of {', '.join(choices)}; perhaps `{near[0]}`"
    said = next((words for pattern, words in _PATTERNS.items() if repr(pattern) in said), said)
    return _wrong(origin, _line(root, path), said[:1].lower() + said[1:])


def _wrong(origin: str, line: int, why: str) -> BadUsageError:
    return BadUsageError(f"{origin} is no drill.", f"line {line}: {why}", "valerix schema drill-file")


def _line(node: yaml.Node | None, path: list[tuple[str, str]]) -> int:
    """The line, from 1, of what `path` leads to, or of the last step that is there."""
    line = node.start_mark.line if node else 0
    for name, index in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == name), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _type_at(path: list[tuple[str, str]]) -> Any:
    """The type of what there may be where `path` leads."""
    kind: Any = msgspec.inspect.type_info(Drill)
    for name, _ in path:
        if name:
            fields = _option(kind, msgspec.inspect.StructType).fields
            kind = next((field.type for field in fields if field.encode_name == name), kind)
        else:
            kind = getattr(kind, "item_type", kind)
    return kind


def _option(kind: Any, wanted: type[T]) -> T:
    """The one of its options that is so: a type may be a union, with None."""
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else [kind]
    return next(option for option in options if isinstance(option, wanted))
