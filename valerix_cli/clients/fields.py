"""Validation of the parts of a request (RFC 9110, 5.5 and 5.6.2) before it is sent. Pure."""

import re
from collections.abc import Mapping

from valerix_cli.errors import BadUsageError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")


def check(method: str, path: str, headers: Mapping[str, str]) -> None:
    """Raise BadUsageError for an invalid part; the message names the part, not its value, which may be secret."""
    if not _TOKEN.fullmatch(method):
        raise _refused(f"{method!r} is not an HTTP method", "GET, POST or another word")
    if not path.isprintable():
        raise _refused("the path holds control characters", "write them as %0A and the like")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise _refused(f"{name!r} is not a header name", "letters, digits and dashes, as in Idempotency-Key")
        if not _VALUE.fullmatch(value):
            why = f"the value of {name} holds control characters, or letters that are not ASCII"
            raise _refused(why, "printable ASCII characters; a key is of A-Z a-z 0-9 _ . : -")


def not_utf_8() -> BadUsageError:
    """Return the error for a body or a parameter with unpaired surrogates, which UTF-8 cannot encode."""
    return _refused("it holds bytes that are not UTF-8", "text in UTF-8")


def _refused(why: str, hint: str) -> BadUsageError:
    return BadUsageError("Invalid request.", why, hint)
