"""Quoting of values for shells, TOML and patterns, so that each is read back unchanged. Pure.

`word` and `command` are for shells, `toml_string` and `toml_key` for configuration files, `glob` for a path where a
program expects a pattern. `addresses.path` quotes segments of URLs, `escaping` is for display.
"""

import json
import os
import re
import shlex

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def word(text: object) -> str:
    r"""Quote one word for a shell; control characters, which would act when pasted, become `$'\x1b'` (bash, zsh)."""
    string = str(text)
    if string.isprintable():
        return shlex.quote(string)
    return f"$'{''.join(map(_in_ansi_c, string))}'"


def command(words: str, *operands: object, **options: object) -> str:
    """Return a command line: `words` unquoted, then operands, and options except those that are None or False.

    Operands that begin with a dash come last, after `--`, since they would be parsed as options.
    """
    given = [part for name, value in options.items() for part in _option(name, value)]
    named = [word(each) for each in operands]
    if any(str(each).startswith("-") for each in operands):
        return " ".join([words, *given, "--", *named])
    return " ".join([words, *named, *given])


def toml_string(text: str) -> str:
    """Return a basic string of TOML 1.0."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def toml_key(text: str) -> str:
    """Return a key of TOML 1.0, bare if possible."""
    return text if _BARE_KEY.fullmatch(text) else toml_string(text)


def toml_table(context: str) -> str:
    """Return the header of a context's table, as `[contexts.production]`."""
    return f"[contexts.{toml_key(context)}]"


def glob(path: str) -> str:
    """Return a pattern that matches this path only: itself, or with `*`, `?` and `[` escaped (glob(7))."""
    return re.sub(r"([\\*?\[])", r"\\\1", path) if re.search(r"[*?\[]", path) else path


def _option(name: str, value: object) -> list[str]:
    if value is None or value is False:
        return []
    dashed = f"--{name.replace('_', '-')}"
    return [dashed] if value is True else [dashed, word(value)]


def _in_ansi_c(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
