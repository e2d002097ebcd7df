"""Drill files: read strictly, so that a slip of the pen is an error with its line and the nearest name."""

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
from valerix_cli.drills.enforceable import superfluous, unenforceable
from valerix_cli.drills.model import ITEM, NAME, SERVICE, TARGET, Drill
from valerix_cli.drills.units import read
from valerix_cli.errors import BadUsageError
from valerix_cli.mistakes import in_words
from valerix_cli.quoting import command
from valerix_cli.reasons import why

T = TypeVar("T")
Steps: TypeAlias = tuple[str | int, ...]

SHIPPED = Path(__file__).with_name("shipped")
_AT = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_NO_CHOICE = re.compile(r"nvalid enum value '?(.+?)'?$")
_MISSING = re.compile(r"missing required field `(.+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")
_MOST = 100  # mistakes that are told
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
            raise BadUsageError("The drill cannot be read.", f"{wanted}: {why(error)}", "valerix drill list") from error
    known = {drill.drill.name: drill for drill in shipped()}
    if wanted not in known:
        near = get_close_matches(wanted, known, n=1, cutoff=0)
        raise BadUsageError(
            f"Unknown drill `{wanted}`.",
            f"shipped are {', '.join(known)}",
            command("valerix drill show", near[0]),
        )
    return known[wanted]


def shipped() -> Iterator[DrillFile]:
    """The drills that come with Valerix, by name."""
    for path in sorted(SHIPPED.glob("*.yaml")):
        text = path.read_text()
        yield DrillFile(parse(text, path.name), text, path.name)


def parse(text: str, origin: str) -> Drill:
    """The drill that `text` describes. Raises BadUsageError with each mistake, its line, and what would be right."""
    try:
        document = Document(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise _wrong(origin, [(line, str(getattr(error, "problem", None) or error))]) from None
    except RecursionError:
        raise _wrong(origin, [(1, "it is nested too deeply")]) from None
    mistakes = [(line, f"`{name}` is there already, in line {first}") for line, name, first in document.repeated()]
    raw = document.value
    faults = raw.get("faults") if isinstance(raw, dict) else None
    found = [*superfluous(faults)] if isinstance(faults, list) else []
    try:
        drill, wrong, taken = _converted(raw)
    except UnicodeEncodeError:
        raise _wrong(origin, [(_line_of_surrogate(text), _SURROGATE)]) from None
    if drill is not None:
        late = [*unenforceable(drill), *_unknown_invariants(drill)]
        found += [(_as_written(path, taken), why) for path, why in late]
    mistakes += [(document.line(path), why) for path, why in [*found, *_causes(wrong)]]
    if mistakes or drill is None:
        raise _wrong(origin, sorted(mistakes))
    return drill


def _line_of_surrogate(text: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if _ESCAPED_SURROGATE.search(line)), 1)


def _converted(raw: Any) -> tuple[Drill | None, list[tuple[Place, str]], set[Steps]]:
    """The drill in what a file says (None where there is none), what is wrong with the file, and what is left out.

    The reader stops at the first mistake. So each place that is wrong is taken out, and the rest is read again.
    """
    found: list[tuple[Place, str]] = []
    taken: set[Steps] = set()
    while len(found) < _MOST:
        try:
            return msgspec.convert(raw, Drill, dec_hook=read), found, taken
        except msgspec.ValidationError as error:
            where = _AT.search(str(error))
            path: Place = [name or int(number) for name, number in _STEP.findall(where[1] if where else "")]
            said = _AT.sub("", str(error))
            path, why = _explained(said, path)
            written, missing = _as_written(path, taken), _MISSING.search(said)
            if not (missing and (*written, missing[1]) in taken):
                found.append((written, why))
            if not path or not _take_out(raw, path):
                break
            taken.add(tuple(written))
    return None, found, taken


def _as_written(path: Place, taken: set[Steps]) -> Place:
    """Where `path`, which counts without what was taken out, leads in the file: later entries of a list moved up."""
    written: Place = []
    for step in path:
        if isinstance(step, int):
            gone = {each[-1] for each in taken if each[:-1] == tuple(written)}
            written.append(next(islice((number for number in count() if number not in gone), step, None)))
        else:
            written.append(step)
    return written


def _causes(wrong: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Without what is wrong with a thing only since one of its parts is wrong and was taken out."""
    of_parts = {tuple(path[:-1]) for path, _ in wrong if path}
    return [(path, why) for path, why in wrong if tuple(path) not in of_parts]


def _take_out(raw: Any, path: Place) -> bool:
    """Remove what `path` leads to; false where it leads nowhere."""
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


def _explained(said: str, path: Place) -> tuple[Place, str]:
    """Where a mistake is, and what it is, in words for whoever wrote the file."""
    if unknown := _UNKNOWN.search(said):
        names = [field.encode_name for field in _option(_type_at(path), msgspec.inspect.StructType).fields]
        near = get_close_matches(unknown[1], names, n=1, cutoff=0)
        return [*path, unknown[1]], f"unknown field `{unknown[1]}`; perhaps `{near[0]}`"
    if wrong := _NO_CHOICE.search(said):
        choices = [str(value) for value in _option(_type_at(path), msgspec.inspect.LiteralType).values]
        near = get_close_matches(wrong[1], choices, n=1, cutoff=0)
        said = f"`{wrong[1]}` is none of {', '.join(choices)}; perhaps `{near[0]}`"
    if known := next((words for pattern, words in _PATTERNS.items() if repr(pattern) in said), None):
        return path, known
    said = in_words(said, str(path[-1]) if path else None)
    return path, said[:1].lower() + said[1:]


def _wrong(origin: str, mistakes: list[tuple[int, str]]) -> BadUsageError:
    told = "; ".join(f"line {line}: {why}" for line, why in mistakes)
    many = f"{len(mistakes)} mistakes: " if len(mistakes) > 1 else ""
    return BadUsageError(f"{origin} is not a valid drill file.", f"{many}{told}", "valerix schema drill-file")


def _type_at(path: Place) -> Any:
    """The type of what there may be where `path` leads."""
    kind: Any = msgspec.inspect.type_info(Drill)
    for name in path:
        if isinstance(name, str):
            fields = _option(kind, msgspec.inspect.StructType).fields
            kind = next((field.type for field in fields if field.encode_name == name), kind)
        else:
            kind = getattr(kind, "item_type", kind)
    return kind


def _option(kind: Any, wanted: type[T]) -> T:
    """The one of its options that is so: a type may be a union, with None."""
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else [kind]
    return next(option for option in options if isinstance(option, wanted))
