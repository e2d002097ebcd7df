"""Where a setting comes from: flag, VALERIX_* variable, ./valerix.toml, user config, default; the first one holds."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import typer

from valerix_cli.durations import parse_duration
from valerix_cli.errors import BadUsageError
from valerix_cli.options import Format, GlobalOptions

LOCAL = "local"
PROJECT_FILE = "valerix.toml"
VARIABLES = {
    "context": "VALERIX_CONTEXT",
    "output": "VALERIX_OUTPUT",
    "timeout": "VALERIX_TIMEOUT",
    "no_input": "VALERIX_NO_INPUT",
}
DEFAULTS: dict[str, Any] = {"context": LOCAL, "output": Format.TABLE, "timeout": None, "no_input": False}
_TRUE = {"1", "true", "yes", "on"}


class ContextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[contexts.NAME]` of a config file; the token is better kept in an environment variable.

    The databases are the auditor's connection strings, which hold a password, so they are only ever in variables.
    With `cluster`, a context of the kubeconfig, everything else is found there, and `valerix cluster` may write to it.
    """

    order: list[str] = []
    inventory: list[str] = []
    operator_token: str | None = None
    operator_token_env: str | None = None
    service_token_env: str | None = None
    order_database_env: str | None = None
    inventory_database_env: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    overlay: str | None = None

    def __post_init__(self) -> None:
        if self.cluster is None and not (self.order and self.inventory):
            raise ValueError("a context has the addresses of `order` and `inventory`, or the name of a `cluster`")
        if self.cluster is None and (self.namespace or self.overlay):
            raise ValueError("`namespace` and `overlay` say something of a `cluster`, and there is none")


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What valerix.toml and the user's config.toml may hold."""

    context: str | None = None
    output: Format | None = None
    timeout: str | int | float | None = None
    no_input: bool | None = None
    contexts: dict[str, ContextConfig] = {}


@dataclass(frozen=True)
class Layer:
    """One place settings come from."""

    origin: str
    values: Mapping[str, Any]
    contexts: Mapping[str, ContextConfig]


@dataclass(frozen=True)
class Setting:
    """A value and where it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Settings:
    """All layers, the one that wins first."""

    layers: tuple[Layer, ...]

    def setting(self, name: str) -> Setting:
        for layer in self.layers:
            if layer.values.get(name) is not None:
                return Setting(layer.values[name], layer.origin)
        return Setting(DEFAULTS[name], "default")

    @property
    def cluster(self) -> str | None:
        """The cluster of the context in force, None where that is none."""
        found = self.contexts.get(self.setting("context").value)
        return found[0].cluster if found else None

    @property
    def contexts(self) -> dict[str, tuple[ContextConfig, str]]:
        """Each context that a file describes, and which file."""
        found: dict[str, tuple[ContextConfig, str]] = {}
        for layer in self.layers:
            for name, config in layer.contexts.items():
                found.setdefault(name, (config, layer.origin))
        return found


def read_settings(options: GlobalOptions, environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings of a run in `directory`. Raises BadUsageError for what cannot be understood."""
    typed = {
        "context": options.context,
        "output": options.output,
        "timeout": options.timeout,
        "no_input": options.no_input or None,
    }
    return Settings(
        (
            Layer("flag", typed, {}),
            Layer("environment", _from_environment(environ), {}),
            _from_file(directory / PROJECT_FILE),
            _from_file(user_config(environ)),
        )
    )


def user_config(environ: Mapping[str, str]) -> Path:
    """Where the user's own settings are kept: VALERIX_CONFIG, else where this system keeps such files."""
    if named := environ.get("VALERIX_CONFIG"):
        return Path(named).expanduser()
    from platformdirs import user_config_path  # noqa: PLC0415 - not needed when the file is named

    return user_config_path("valerix", appauthor=False) / "config.toml"


def keep_context(path: Path, name: str) -> None:
    """Make `name` the default context in the user's config, leaving the rest of the file as it is."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    top = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    kept = [line for line in lines[:top] if line.split("=")[0].strip() != "context"]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([f'context = "{name}"', *kept, *lines[top:]]) + "\n"
    from valerix_cli.local.state import write_atomically  # noqa: PLC0415 - one command in many writes

    write_atomically(path, text.encode(), mode=path.stat().st_mode & 0o777 if path.exists() else 0o600)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    given = {name: environ[variable] for name, variable in VARIABLES.items() if environ.get(variable)}
    values: dict[str, Any] = dict(given)
    if "output" in given:
        values["output"] = _format(given["output"])
    if "timeout" in given:
        values["timeout"] = _seconds(given["timeout"], VARIABLES["timeout"])
    if "no_input" in given:
        values["no_input"] = given["no_input"].lower() in _TRUE
    return values


def _from_file(path: Path) -> Layer:
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=ConfigFile)
    except (FileNotFoundError, NotADirectoryError):
        return Layer(str(path), {}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsageError(f"{path} cannot be read.", str(error), "make it readable, or move it away") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        hint = "correct it; `valerix context show --origins` says what is read"
        raise BadUsageError(f"{path} was not understood.", str(error), hint) from error
    if LOCAL in config.contexts:
        raise BadUsageError(
            f"{path} was not understood.",
            f"the context `{LOCAL}` is what `valerix up` started and is described nowhere else",
            f"give [contexts.{LOCAL}] another name",
        )
    values = {name: getattr(config, name) for name in DEFAULTS}
    if config.timeout is not None:
        values["timeout"] = _seconds(str(config.timeout), str(path))
    return Layer(str(path), values, config.contexts)


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        why = f"{text!r} is none of {', '.join(Format)}"
        raise BadUsageError(f"{VARIABLES['output']} was not understood.", why, "unset VALERIX_OUTPUT") from None


def _seconds(text: str, origin: str) -> float:
    try:
        return parse_duration(text)
    except typer.BadParameter as error:
        raise BadUsageError(f"The time limit in {origin} was not understood.", str(error), "write 30s") from error


def directory_of_this_run() -> Path:
    return Path(os.curdir).absolute()
