"""Settings and their origin: flag, variable, trusted ./valerix.toml, user config, default; the first one applies.

Contexts are those of the user's config; a project adds others.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valerix_cli.config import LOCAL, ConfigFile, ContextConfig, parse_config, seconds
from valerix_cli.errors import BadUsageError, GuardError
from valerix_cli.options import Format, GlobalOptions
from valerix_cli.projects import Project, read_project
from valerix_cli.quoting import toml_string
from valerix_cli.reasons import why

VARIABLES = {
    "context": "VALERIX_CONTEXT",
    "output": "VALERIX_OUTPUT",
    "timeout": "VALERIX_TIMEOUT",
    "no_input": "VALERIX_NO_INPUT",
}
DEFAULTS: dict[str, Any] = {"context": LOCAL, "output": Format.TABLE, "timeout": None, "no_input": False}
_TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True)
class Layer:
    """One source of settings."""

    origin: str
    values: Mapping[str, Any]
    contexts: Mapping[str, ContextConfig]


@dataclass(frozen=True)
class Setting:
    """A value and its origin."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Settings:
    """All layers by descending precedence, and the project file, which is a layer only if it is trusted."""

    layers: tuple[Layer, ...]
    project: Project | None = None
    insecure_token: bool = False

    def setting(self, name: str) -> Setting:
        for layer in self.layers:
            if layer.values.get(name) is not None:
                return Setting(layer.values[name], layer.origin)
        return Setting(DEFAULTS[name], "default")

    @property
    def cluster(self) -> str | None:
        """The cluster of the current context, if it is one."""
        found = self.contexts.get(self.setting("context").value)
        return found[0].cluster if found else None

    @property
    def contexts(self) -> dict[str, tuple[ContextConfig, str]]:
        """Each context with the file that defines it; the user's config precedes projects."""
        found: dict[str, tuple[ContextConfig, str]] = {}
        for layer in reversed(self.layers):
            for name, config in layer.contexts.items():
                found.setdefault(name, (config, layer.origin))
        return found


def read_settings(options: GlobalOptions, environ: Mapping[str, str], directory: Path) -> Settings:
    """Read the settings of a run in `directory`. Raises BadUsageError for invalid ones."""
    typed = {
        "context": options.context,
        "output": options.output,
        "timeout": options.timeout,
        "no_input": options.no_input or None,
    }
    users = user_config(environ)
    project = read_project(directory, users, environ)
    layers = [Layer("flag", typed, {}), Layer("environment", _from_environment(environ), {})]
    if project is not None and (config := project.in_force) is not None:
        layers.append(_layer(config, str(project.path)))
    return Settings((*layers, _from_file(users)), project, options.insecure_token)


def user_config(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's config: VALERIX_CONFIG, else the system's directory for such files."""
    if named := environ.get("VALERIX_CONFIG"):
        return Path(named).expanduser()
    from platformdirs import user_config_path  # noqa: PLC0415 - not needed when the file is named

    return user_config_path("valerix", appauthor=False) / "config.toml"


def keep_context(path: Path, name: str) -> None:
    """Make `name` the default context in the user's config; the rest of the file is unchanged."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    top = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    kept = [line for line in lines[:top] if line.split("=")[0].strip() != "context"]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([f"context = {toml_string(name)}", *kept, *lines[top:]]) + "\n"
    from valerix_cli.files import write_atomically  # noqa: PLC0415 - one command in many writes

    write_atomically(path, text.encode(), mode=path.stat().st_mode & 0o777 if path.exists() else 0o600)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    given = {name: environ[variable] for name, variable in VARIABLES.items() if environ.get(variable)}
    values: dict[str, Any] = dict(given)
    if "output" in given:
        values["output"] = _format(given["output"])
    if "timeout" in given:
        values["timeout"] = seconds(given["timeout"], VARIABLES["timeout"])
    if "no_input" in given:
        values["no_input"] = given["no_input"].lower() in _TRUE
    return values


def _from_file(path: Path) -> Layer:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Layer(str(path), {}, {})
    except OSError as error:
        raise BadUsageError(f"{path} cannot be read.", why(error), "make it readable, or move it away") from error
    return _layer(parse_config(content, path), str(path))


def _layer(config: ConfigFile, origin: str) -> Layer:
    values = {name: getattr(config, name) for name in DEFAULTS}
    if config.timeout is not None:
        values["timeout"] = seconds(str(config.timeout), origin)
    return Layer(origin, values, config.contexts)


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        why = f"{text!r} is not one of {', '.join(Format)}"
        raise BadUsageError(f"{VARIABLES['output']} is invalid.", why, "unset VALERIX_OUTPUT") from None


def directory_of_this_run() -> Path:
    """Return the current directory as an absolute path, or `.` if that path cannot be entered."""
    here = Path(os.curdir).absolute()
    return here if os.access(here, os.X_OK) else Path(os.curdir)


def refuse_untrusted(settings: Settings, name: str) -> None:
    """Raise GuardError if only an untrusted project file defines the context."""
    project = settings.project
    if project is None or project.state == "trusted" or project.config is None or name not in project.config.contexts:
        return
    why = "has changed since it was trusted" if project.state == "changed" else "is not trusted"
    raise GuardError(
        f"The context `{name}` was not used.", f"only {project.path} describes it, which {why}", "valerix context trust"
    )
