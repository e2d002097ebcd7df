"""Results as YAML, in which a string that is not safe to show is double-quoted: there it can be escaped."""

from typing import Any

import msgspec
import yaml

from valerix_cli.escaping import escape

_ENDLESS = 2**31  # characters: a line that is folded may begin with any word of a text


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe one."""


def _scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if escape(text, keep="\n") == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _scalar)


def dump(value: object) -> str:
    """The document of a value; structs become maps."""
    builtins: Any = msgspec.to_builtins(value)
    return str(yaml.dump(builtins, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ENDLESS))
