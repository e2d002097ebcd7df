"""Results as YAML; strings with unsafe characters are double-quoted, so that these can be escaped."""

from typing import Any

import msgspec
import yaml

from valerix_cli.escaping import escape

_ENDLESS = 2**31  # characters: in a folded line any word of a text may come first


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper."""


def _scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if escape(text, keep="\n") == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _scalar)


def dump(value: object) -> str:
    """Return the document of a value; structs become maps."""
    builtins: Any = msgspec.to_builtins(value)
    return str(yaml.dump(builtins, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ENDLESS))
