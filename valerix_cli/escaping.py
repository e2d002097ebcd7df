"""Escaping of external text for display: control, bidi and invisible characters become visible. Pure.

The characters are those of the Unicode categories Cc, Cf, Cs, Co, Cn, Zl, Zp and Zs except the space: C0, DEL, C1,
bidi controls, zero-width characters, line and paragraph separators, surrogates; and letters without a glyph.
"""

import dataclasses
import re
from typing import Any, TypeVar

T = TypeVar("T")

_INVISIBLE_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_MULTILINE = frozenset(
    {"DrillSummary.description", "LogLine.fields.exception", "Readiness.role", "Receipt.description", "Receipt.text"}
)
"""Fields whose views handle line breaks."""


def is_safe(char: str) -> bool:
    """Return whether a character is visible, and changes neither the cursor nor the direction of text."""
    return char.isprintable() and char not in _INVISIBLE_LETTERS


def escape(text: str, *, keep: str = "") -> str:
    r"""Return the text with each unsafe character as `\x1b`, `\u202e` or `\U000e0001`, except those in `keep`."""
    if text.isprintable() and _INVISIBLE_LETTERS.isdisjoint(text):
        return text
    escaped = "".join(char if is_safe(char) or char in keep else _escaped(char) for char in text)
    return text if escaped == text else escaped


def printable(text: str) -> str:
    """Return the text with unsafe characters escaped and its line breaks kept."""
    return escape(text, keep="\n")


def escape_json(document: str) -> str:
    r"""Return an equal JSON document with unsafe characters in its strings as `\uXXXX` (RFC 8259 section 7)."""
    if document.isascii():  # valid JSON has C0 escaped
        return document.replace("\x7f", r"\u007f")
    return "".join(char if is_safe(char) or char == "\n" else _in_json(char) for char in document)


def escape_yaml(document: str) -> str:
    """Return an equal YAML document; unsafe characters may be in double-quoted scalars only."""
    return printable(document)


def escape_values(value: T) -> T:
    """Return the value with all its strings escaped, including line breaks; the same object if nothing is unsafe.

    Traverses structs, dataclasses, lists, tuples, sets and dicts. Fields whose views handle line breaks keep them.
    """
    return _escape_values(value, "")  # type: ignore[no-any-return]  # it keeps the type


def _escape_values(value: Any, name: str) -> Any:  # noqa: PLR0911 - one case per type
    if type(value) is str:
        return escape(value, keep="\n" if name in _MULTILINE else "")
    if isinstance(value, dict):
        entries = {_escape_values(k, ""): _escape_values(v, f"{name}.{k}") for k, v in value.items()}
        return _same_or_new(value, entries)
    if isinstance(value, list):
        return _same_or_new(value, [_escape_values(one, name) for one in value])
    if type(value) is tuple:
        return _same_or_new(value, tuple(_escape_values(one, name) for one in value))
    fields = _fields(value)
    changed = {
        field: new
        for field in fields
        if (new := _escape_values(old := getattr(value, field), f"{type(value).__name__}.{field}")) is not old
    }
    if not changed:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **changed)
    import msgspec  # noqa: PLC0415 - a value with such fields has imported it

    return msgspec.structs.replace(value, **changed)


def _fields(value: Any) -> tuple[str, ...]:
    """Return the fields of a struct or a dataclass; none for other types."""
    if isinstance(value, type):
        return ()
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value) if field.init)
    found: tuple[str, ...] = getattr(value, "__struct_fields__", ())
    return found


def _same_or_new(old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        same = len(old) == len(new) and all(k in new and new[k] is v for k, v in old.items())
    else:
        same = all(one is other for one, other in zip(old, new, strict=True))
    return old if same else new


def _escaped(char: str) -> str:
    if char.isprintable():  # an invisible letter
        return f"\\u{ord(char):04x}"
    return char.encode("unicode_escape").decode()


def _in_json(char: str) -> str:
    return re.sub(r"(.{4})", r"\\u\1", char.encode("utf-16-be", "surrogatepass").hex())
