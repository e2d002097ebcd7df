"""Values put into another language, so that each is read back as the one value that it was. Pure.

`word` and `command` are for what is typed into a shell, `toml_string` and `toml_key` for configuration files, `glob`
for a path that a program may take for a pattern. `addresses.path` has the segments of URLs, `escaping` what is shown.
"""

import json
import os
import re
import shlex

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def word(text: object) -> str:
    r"""One word of a shell; with control characters, which would act when they are pasted, as `$'\x1b'` (bash, zsh)."""
    string = str(text)
    if string.isprintable():
        return shlex.quote(string)
    return f"$'{''.join(map(_in_ansi_c, string))}'"


def command(words: str, *operands: object, **options: object) -> str:
    """A command line: `words` as they are, operands, and options, of which those that are None or False are left out.

    Operands that begin with a dash come last, after `--`, or they would be taken for options.
    """
    given = [part for name, value in options.items() for part in _option(name, value)]
    named = [word(each) for each in operands]
    if any(str(each).startswith("-") for each in operands):
        return " ".join([words, *given, "--", *named])
    return " ".join([words, *named, *given])


def toml_string(text: str) -> str:
    """A basic string of TOML 1.0."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def toml_key(text: str) -> str:
    """A key of TOML 1.0, bare where it may be."""
    return text if _BARE_KEY.fullmatch(text) else toml_string(text)


def toml_table(context: str) -> str:
    """The header of the table that describes a context, as `[contexts.production]`."""
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
