"""Reasons of failures in plain words instead of a library's."""

import re
import tomllib
from typing import Any

import msgspec

from valerix_cli.mistakes import explain

_NUMBER = re.compile(r"\[Errno -?\d+\] ")
_OBJECT = re.compile(r"<[^<>]* object at 0x[0-9a-f]+>:? ?|\w+Error\('|'\)+$")


def why(error: BaseException, kind: Any = None, *, whole: str = "it") -> str:
    """Return the reason, without a final full stop; `kind` is the expected type, `whole` the name of the value."""
    match error:
        case msgspec.DecodeError():
            return explain(error, kind, whole=whole)
        case UnicodeDecodeError():
            return f"{whole} is not text in UTF-8, at byte {error.start + 1}"
        case tomllib.TOMLDecodeError():
            return f"{whole} is not valid TOML: {_lowered(str(error))}"
        case RecursionError():
            return f"{whole} is nested too deeply"
        case OSError(strerror=str(message)):
            return _lowered(message)
        case _:
            return _of_library(error)


def _of_library(error: BaseException) -> str:
    """Return a library's message, without system error numbers and addresses in memory."""
    while isinstance(reason := getattr(error, "reason", None), BaseException):  # urllib3 wraps the cause
        error = reason
    message = _OBJECT.sub("", _NUMBER.sub("", str(error)))
    return " ".join(message.split()).rstrip(".") or type(error).__name__


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
