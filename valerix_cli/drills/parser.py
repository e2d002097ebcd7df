"""Parses drill files strictly: every mistake is reported with its line and the nearest valid name."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import yaml

from valerix_cli.audit import model as audit
from valerix_cli.drills.document import Document
from valerix_cli.drills.document import Path as Place
from valerix_cli.drills.model import ITEM, NAME, SERVICE, TARGET, Drill
from valerix_cli.drills.units import read
from valerix_cli.drills.validation import unreachable, unused_fields
from valerix_cli.errors import BadUsageError
from valerix_cli.mistakes import in_words
from valerix_cli.quoting import command
from valerix_cli.reasons import why

T = TypeVar("T")
PathKey: TypeAlias = tuple[str | int, ...]

SHIPPED = Path(__file__).with_name("shipped")
_AT = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_INVALID_CHOICE = re.compile(r"nvalid enum value '?(.+?)'?$")
_MISSING = re.compile(r"missing required field `(.+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")
_MAX_MISTAKES = 100
_PATTERNS = {
    TARGET: "a process is one of order, inventory, worker (or order-1 for one replica), redis, postgres",
    SERVICE: "a service is one of order, inventory, worker",
    NAME: "a name is made of a-z, 0-9 and -, at most 63 of them",
    ITEM: "an item is named by A-Z a-z 0-9 _ . : -, at most 64 of them",
}
_ESCAPED_SURROGATE = re.compile(r"\\[uU](?:0000)?[dD][89a-fA-F]")
_SURROGATE = r"a text holds a surrogate, which YAML does not pair: write the character itself, or \U and eight digits"
INVARIANTS = [rule.name for rule in vars(audit).values() if isinstance(rule, audit.Rule)]


class DrillFile(msgspec.Struct, frozen=True):
    """A drill with its text and the name of its file."""

    drill: Drill
    text: str
    origin: str


def find(name_or_path: str) -> DrillFile:
    """Return the drill in a file, or the shipped drill of that name. Raises BadUsageError."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or "/" in name_or_path or path.is_file():
        try:
            return DrillFile(parse(text := path.read_text(), name_or_path), text, name_or_path)
        except (OSError, UnicodeDecodeError) as error:
            raise BadUsageError(
                "The drill cannot be read.", f"{name_or_path}: {why(error)}", "valerix drill list"
            ) from error
    known = {drill.drill.name: drill for drill in shipped()}
    if name_or_path not in known:
        near = get_close_matches(name_or_path, known, n=1, cutoff=0)
        raise BadUsageError(
            f"Unknown drill `{name_or_path}`.",
            f"shipped drills: {', '.join(known)}",
            command("valerix drill show", near[0]),
        )
    return known[name_or_path]


def shipped() -> Iterator[DrillFile]:
    """Yield the drills that come with Valerix, sorted by name."""
    for path in sorted(SHIPPED.glob("*.yaml")):
        text = path.read_text()
        yield DrillFile(parse(text, path.name), text, path.name)


def parse(text: str, origin: str) -> Drill:
    """Parse the text of a drill file. Raises BadUsageError with each mistake, its line and a suggestion."""
    try:
        document = Document(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise _error(origin, [(line, str(getattr(error, "problem", None) or error))]) from None
    except RecursionError:
        raise _error(origin, [(1, "it is nested too deeply")]) from None
    mistakes = [
        (line, f"`{name}` is there already, in line {first}") for line, name, first in document.duplicate_keys()
    ]
    raw = document.value
    faults = raw.get("faults") if isinstance(raw, dict) else None
    found = [*unused_fields(faults)] if isinstance(faults, list) else []
    try:
        drill, wrong, removed = _convert(raw)
    except UnicodeEncodeError:
        raise _error(origin, [(_line_of_surrogate(text), _SURROGATE)]) from None
    if drill is not None:
        late = [*unreachable(drill), *_unknown_invariants(drill)]
        found += [(_original_path(path, removed), reason) for path, reason in late]
    mistakes += [(document.line(path), reason) for path, reason in [*found, *_without_consequences(wrong)]]
    if mistakes or drill is None:
        raise _error(origin, sorted(mistakes))
    return drill


def _line_of_surrogate(text: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if _ESCAPED_SURROGATE.search(line)), 1)


def _convert(raw: Any) -> tuple[Drill | None, list[tuple[Place, str]], set[PathKey]]:
    """Convert the content of a file. Returns the drill (None if invalid), the mistakes, and the removed paths.

    msgspec stops at the first mistake. So each invalid part is removed and the rest is converted again.
    """
    found: list[tuple[Place, str]] = []
    removed: set[PathKey] = set()
    while len(found) < _MAX_MISTAKES:
        try:
            return msgspec.convert(raw, Drill, dec_hook=read), found, removed
        except msgspec.ValidationError as error:
            where = _AT.search(str(error))
            path: Place = [name or int(number) for name, number in _STEP.findall(where[1] if where else "")]
            message = _AT.sub("", str(error))
            path, reason = _explain(message, path)
            written, missing = _original_path(path, removed), _MISSING.search(message)
            if not (missing and (*written, missing[1]) in removed):
                found.append((written, reason))
            if not path or not _remove(raw, path):
                break
            removed.add(tuple(written))
    return None, found, removed


def _original_path(path: Place, removed: set[PathKey]) -> Place:
    """Translate a path in the reduced content to one in the file: removing an entry of a list shifts later ones."""
    written: Place = []
    for step in path:
        if isinstance(step, int):
            gone = {each[-1] for each in removed if each[:-1] == tuple(written)}
            written.append(next(islice((number for number in count() if number not in gone), step, None)))
        else:
            written.append(step)
    return written


def _without_consequences(wrong: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Drop mistakes of a value that are only a consequence of the removal of one of its parts."""
    of_parts = {tuple(path[:-1]) for path, _ in wrong if path}
    return [(path, reason) for path, reason in wrong if tuple(path) not in of_parts]


def _remove(raw: Any, path: Place) -> bool:
    """Remove the value at `path`. Returns False if there is none."""
    for step in path[:-1]:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del raw[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _unknown_invariants(drill: Drill) -> Iterator[tuple[Place, str]]:
    for number, name in enumerate([] if drill.invariants == "all" else drill.invariants):
        if name not in INVARIANTS:
            near = get_close_matches(name, INVARIANTS, n=1, cutoff=0)[0]
            yield ["invariants", number], f"unknown invariant `{name}`; perhaps `{near}`"


def _explain(message: str, path: Place) -> tuple[Place, str]:
    """Return the path of a mistake and a description for the author of the file."""
    if unknown := _UNKNOWN.search(message):
        names = [field.encode_name for field in _member(_type_at(path), msgspec.inspect.StructType).fields]
        near = get_close_matches(unknown[1], names, n=1, cutoff=0)
        return [*path, unknown[1]], f"unknown field `{unknown[1]}`; perhaps `{near[0]}`"
    if wrong := _INVALID_CHOICE.search(message):
        choices = [str(value) for value in _member(_type_at(path), msgspec.inspect.LiteralType).values]
        near = get_close_matches(wrong[1], choices, n=1, cutoff=0)
        message = f"`{wrong[1]}` is not one of {', '.join(choices)}; perhaps `{near[0]}`"
    if known := next((words for pattern, words in _PATTERNS.items() if repr(pattern) in message), None):
        return path, known
    message = in_words(message, str(path[-1]) if path else None)
    return path, message[:1].lower() + message[1:]


def _error(origin: str, mistakes: list[tuple[int, str]]) -> BadUsageError:
    listed = "; ".join(f"line {line}: {reason}" for line, reason in mistakes)
    many = f"{len(mistakes)} mistakes: " if len(mistakes) > 1 else ""
    return BadUsageError(f"{origin} is not a valid drill file.", f"{many}{listed}", "valerix schema drill-file")


def _type_at(path: Place) -> Any:
    """Return msgspec's type information for the value at `path`."""
    kind: Any = msgspec.inspect.type_info(Drill)
    for name in path:
        if isinstance(name, str):
            fields = _member(kind, msgspec.inspect.StructType).fields
            kind = next((field.type for field in fields if field.encode_name == name), kind)
        else:
            kind = getattr(kind, "item_type", kind)
    return kind


def _member(kind: Any, wanted: type[T]) -> T:
    """Return the member of a type, which may be a union, that is of type `wanted`."""
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else [kind]
    return next(option for option in options if isinstance(option, wanted))
