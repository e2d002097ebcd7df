"""valerix context: list, use, show, trust, untrust."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from valerix_cli.config import LOCAL, ContextConfig, describe, parse_config
from valerix_cli.contexts.find import find_context
from valerix_cli.errors import BadUsageError, GuardError, UnreachableError
from valerix_cli.output import info, print_result, warn
from valerix_cli.output_models import ContextSummary, SettingOrigin
from valerix_cli.projects import PROJECT_FILE, Trust, check, others_may_write, read_content
from valerix_cli.quoting import command, toml_string
from valerix_cli.session import Session
from valerix_cli.settings import VARIABLES, Setting, keep_context, refuse_untrusted, user_config
from valerix_cli.typer_app import App
from valerix_cli.views import toolbox as views

app = App("Choose the platform to use.")


@app.command("list")
def list_contexts(ctx: typer.Context) -> None:
    """List the configured platforms."""
    session: Session = ctx.obj
    current = session.settings.setting("context").value
    lines = [ContextSummary(LOCAL, current == LOCAL, *_local_urls(session), origin="valerix up")]
    lines += [
        ContextSummary(name, current == name, *_addresses(config), origin)
        for name, (config, origin) in session.settings.contexts.items()
    ]
    print_result(lines, views.contexts_view, session.output)


@app.command("use")
def use(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make a platform the default one."""
    session: Session = ctx.obj
    known = [LOCAL, *session.settings.contexts]
    if name not in known:
        refuse_untrusted(session.settings, name)
        raise BadUsageError(
            f"Unknown context `{name}`.", f"known names: {', '.join(known)}", "describe it in a config file"
        )
    before = session.settings.setting("context")
    path = user_config(os.environ)
    keep_context(path, name)
    undo = command("valerix context use", before.value)
    info(f"{path} now has context = {toml_string(name)}. Undo: {undo}", session.output)
    if before.origin not in {str(path), "default"}:
        info(f"The {before.origin} says {before.value!r} and takes precedence.", session.output)


@app.command("show")
def show_context(
    ctx: typer.Context,
    *,
    origins: Annotated[bool, typer.Option("--origins", help="Show the origin of each value.")] = False,
) -> None:
    """Show the effective settings; tokens are never shown."""
    session: Session = ctx.obj
    rows = [_row(name, session.settings.setting(name)) for name in VARIABLES]
    if origins:
        rows += _of_projects(session)
    print_result([*rows, *_of_context(session)], views.origins_view if origins else views.settings_view, session.output)


@app.command("trust")
def trust(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file, or its directory.")] = Path(PROJECT_FILE),
) -> None:
    """Trust a project's valerix.toml in its current state; a changed file has to be trusted again.

    Shows its settings and asks for confirmation, unless --yes. A project never replaces a context of your own.
    """
    session: Session = ctx.obj
    session.printed.add(str(_real(path)))  # shown in full below
    path, users = _real(path), user_config(os.environ)
    try:
        content = read_content(path)
    except OSError as error:
        raise BadUsageError(f"{path} cannot be read.", str(error.strerror), "valerix context trust PATH") from error
    config = parse_config(content, path)
    check(config, path)
    for line in describe(config):
        info(f"{path} sets {line}", session.output)
    mine = {name for name, (_, origin) in session.settings.contexts.items() if origin == str(users)}
    for name in sorted(mine & set(config.contexts)):
        warn(f"Your own context {name} stays as it is in {users}.", session.output)
    if others_may_write(path):
        warn(f"Others may write to {path}; whenever they do, it has to be trusted again.", session.output)
    session.require_confirmation(f"trust {path}", "its author decides where your commands are sent")
    Trust(users).add(path, content)
    undo = command("valerix context untrust", path)
    info(f"Trusted as it is now. Undo: {undo}", session.output)


@app.command("untrust")
def untrust(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file, or its directory.")] = Path(PROJECT_FILE),
) -> None:
    """Stop trusting a project's valerix.toml."""
    session: Session = ctx.obj
    session.printed.add(str(_real(path)))
    path = _real(path)
    was = Trust(user_config(os.environ)).remove(path)
    info(f"{path} is {'no longer trusted' if was else 'not trusted, and was not'}.", session.output)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path / PROJECT_FILE if path.is_dir() else path))


def _of_projects(session: Session) -> list[SettingOrigin]:
    """Return the project file of this directory, and each trusted one."""
    store, project = Trust(user_config(os.environ)), session.settings.project
    rows = [SettingOrigin("trusted project", one.path, str(store.path)) for one in store.entries()]
    if project is None:
        return rows
    how = {
        "trusted": "in force",
        "changed": "ignored: changed since it was trusted",
        "untrusted": "ignored: not trusted",
    }
    return [SettingOrigin("project", how[project.state], f"{project.path} sha256:{project.sha256}"), *rows]


def _of_context(session: Session) -> list[SettingOrigin]:
    try:
        context = session.context
    except UnreachableError as error:
        return [SettingOrigin("order", "", error.why)]
    except GuardError as error:
        if session.settings.setting("context").value == LOCAL:
            raise  # every command refuses a state directory that is not trusted
        return [SettingOrigin("order", "", error.why)]
    rows = [SettingOrigin(name, list(urls), context.origin) for name, urls in context.services.items()]
    return [*rows, SettingOrigin("operator_token", "given" if context.operator_token else "none", context.token_origin)]


def _row(name: str, setting: Setting) -> SettingOrigin:
    origin = VARIABLES[name] if setting.origin == "environment" else setting.origin
    return SettingOrigin(name, _plain(setting.value), origin)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def _addresses(config: ContextConfig) -> tuple[list[str], list[str]]:
    """Return the configured addresses; for a cluster its name, since its pods are looked up only when needed."""
    if config.cluster is not None:
        return [f"cluster {config.cluster}"], [f"cluster {config.cluster}"]
    return config.order, config.inventory


def _local_urls(session: Session) -> tuple[list[str], list[str]]:
    try:
        local = find_context(session.with_option("context", LOCAL).settings)
    except UnreachableError:
        return [], []
    return list(local.services.get("order", ())), list(local.services.get("inventory", ()))
