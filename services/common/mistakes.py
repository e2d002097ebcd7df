"""Validation errors of msgspec as plain English sentences. Pure.

valerix_cli/mistakes.py is the same module: neither package may import the other.
"""

import re
from difflib import get_close_matches
from typing import Any

import msgspec

_OWN = "is wrong: "
_Metadata = msgspec.inspect.Metadata
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "uuid": "a UUID",
    "datetime": "a time",
    "bytes": "base64",
}
_UNITS = {"str": "characters", "array": "entries", "object": "members"}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_FIXED = {
    "Input data was truncated": "is not complete JSON",
    "Number out of range": "is a number out of range",
    "Integer value out of range": "is a number out of range",
    "Invalid UUID": "is not a UUID",
    "Invalid RFC3339 encoded datetime": "is not a time such as 2026-01-31T12:00:00Z",
    "Expected `datetime` with a timezone component": "has to have a time zone, as in 2026-01-31T12:00:00Z",
}


def explain(error: Exception | str, kind: Any = None, *, whole: str = "The body") -> str:
    """Return one sentence: which part of a value is wrong, how, and what is valid.

    `kind` is the expected type of the value; with it, similar names are suggested. `whole` is the name of the value.
    """
    where, how = explained(error, kind)
    if not where:
        return f"{whole} {how}"
    return f"`{where}` {how}"


def in_words(message: str, name: str | None = None) -> str:
    """Rephrase msgspec's message about a part called `name`; a message of our types is unchanged."""
    where, how = explained(message)
    subject = where or name
    if how.startswith(_OWN):
        return how.removeprefix(_OWN)
    return f"`{subject}` {how}" if subject else f"it {how}"


def explained(error: Exception | str, kind: Any = None) -> tuple[str, str]:
    """Return the invalid part of a value, as `lines[2].quantity`, empty for the whole; and the rest of the sentence."""
    message = str(error)
    found = _AT.search(message)
    where = found[1] if found else ""
    message = _AT.sub("", message)
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return _below(where, missing[1]), "is missing"
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        return _below(where, unknown[1]), f"is no field{_nearest(unknown[1], _names(kind, where))}"
    if wrong := re.fullmatch(r"Invalid enum value (.*)", message):
        choices = _choices(kind, where)
        return where, f"may not be {wrong[1]}" + (f": it is one of {', '.join(choices)}" if choices else "")
    if pattern := re.fullmatch(r"Expected `str` matching regex '(.*)'", message):
        described = _description(kind, where)
        return where, f"has to be {described}" if described else f"has to match {pattern[1]}"
    return where.replace("[...]", "[…]"), _FIXED.get(message) or _expected(message) or _malformed(message)


def _expected(message: str) -> str | None:
    if mistaken := re.fullmatch(r"Expected `(.*)`, got `(.*)`", message):
        return f"has to be {_noun(mistaken[1])}, not {_noun(mistaken[2])}"
    if size := re.fullmatch(r"Expected `(\w+)` of length (?:([<>]=) )?(\d+)", message):
        return f"has to have {_BOUNDS.get(size[2], 'exactly')} {_count(size[3], _UNITS.get(size[1], 'parts'))}"
    if bound := re.fullmatch(r"Expected `(\w+)` ([<>]=?) (\S+)", message):
        return f"has to be {_noun(bound[1])}, {_BOUNDS[bound[2]]} {bound[3]}"
    if other := re.fullmatch(r"Expected `(.*)`(.*)", message):
        return f"has to be {_noun(other[1])}{other[2]}"
    return None


def _count(number: str, units: str) -> str:
    return f"{number} {'entry' if units == 'entries' else units[:-1]}" if number == "1" else f"{number} {units}"


def _malformed(message: str) -> str:
    if found := re.fullmatch(r"JSON is malformed: (.*) \(byte (\d+)\)", message):
        return f"is not valid JSON: {found[1]} at byte {found[2]}"
    return f"{_OWN}{message}"


def _noun(types: str) -> str:
    return " or ".join(_NOUNS.get(name, name) for name in types.split(" | "))


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"; perhaps `{near[0]}`"
    return f"; the fields are {', '.join(known)}" if known else ""


def _names(kind: Any, where: str) -> list[str]:
    return [field.encode_name for option in _at(kind, where) for field in getattr(option, "fields", ())]


def _choices(kind: Any, where: str) -> list[str]:
    found = []
    for option in _at(kind, where):
        if isinstance(option, msgspec.inspect.LiteralType):
            found += [str(value) for value in option.values]
        elif isinstance(option, msgspec.inspect.EnumType):
            found += [str(member.value) for member in option.cls]
    return found


def _description(kind: Any, where: str) -> str | None:
    schemas = [option.extra_json_schema or {} for option in _at(kind, where) if isinstance(option, _Metadata)]
    return next((str(schema["description"]) for schema in schemas if "description" in schema), None)


def _at(kind: Any, where: str) -> list[Any]:
    """Return msgspec's descriptions of the types that a part of a `kind` may have."""
    options = [] if kind is None else _options(msgspec.inspect.type_info(kind))
    for name, _ in _STEP.findall(where):
        if name:
            fields = [field for option in options for field in getattr(option, "fields", ())]
            below = [field.type for field in fields if field.encode_name == name]
        else:
            below = [getattr(option, "item_type", None) or getattr(option, "value_type", None) for option in options]
        options = [option for each in below if each is not None for option in _options(each)]
    return options


def _options(info: Any) -> list[Any]:
    if isinstance(info, _Metadata):
        return [info, *_options(info.type)]
    return list(info.types) if isinstance(info, msgspec.inspect.UnionType) else [info]
