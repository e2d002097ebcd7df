"""valerix context: list, use, show."""

import os
from shlex import quote
from typing import Annotated, Any

import typer

from valerix_cli.app import App
from valerix_cli.contexts import find_context
from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.output import show, talk
from valerix_cli.results import ContextLine, OriginLine
from valerix_cli.session import Session
from valerix_cli.settings import LOCAL, VARIABLES, ContextConfig, Setting, keep_context, user_config
from valerix_cli.views import toolbox as views

app = App("Choose which platform to talk to.")


@app.command("list")
def list_contexts(ctx: typer.Context) -> None:
    """List the platforms that are described somewhere."""
    session: Session = ctx.obj
    current = session.settings.setting("context").value
    lines = [ContextLine(LOCAL, current == LOCAL, *_local_urls(session), origin="valerix up")]
    lines += [
        ContextLine(name, current == name, *_addresses(config), origin)
        for name, (config, origin) in session.settings.contexts.items()
    ]
    show(lines, views.contexts_view, session.output)


@app.command("use")
def use(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make a platform the default one."""
    session: Session = ctx.obj
    known = [LOCAL, *session.settings.contexts]
    if name not in known:
        raise BadUsageError(
            f"There is no context called `{name}`.", f"known are {', '.join(known)}", "describe it in a config file"
        )
    before = session.settings.setting("context")
    path = user_config(os.environ)
    keep_context(path, name)
    talk(f"{path} now says context = {name!r}. Undo: valerix context use {quote(before.value)}", session.output)
    if before.origin not in {str(path), "default"}:
        talk(f"The {before.origin} says {before.value!r} and goes first.", session.output)


@app.command("show")
def show_context(
    ctx: typer.Context,
    *,
    origins: Annotated[bool, typer.Option("--origins", help="Say where each value comes from.")] = False,
) -> None:
    """Show the settings in force; a token is never shown."""
    session: Session = ctx.obj
    rows = [_row(name, session.settings.setting(name)) for name in VARIABLES]
    show([*rows, *_of_context(session)], views.origins_view if origins else views.settings_view, session.output)


def _of_context(session: Session) -> list[OriginLine]:
    try:
        context = session.context
    except UnreachableError as error:
        return [OriginLine("order", "", error.why)]
    rows = [OriginLine(name, list(urls), context.origin) for name, urls in context.services.items()]
    return [*rows, OriginLine("operator_token", "given" if context.operator_token else "none", context.token_origin)]


def _row(name: str, setting: Setting) -> OriginLine:
    origin = VARIABLES[name] if setting.origin == "environment" else setting.origin
    return OriginLine(name, _plain(setting.value), origin)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def _addresses(config: ContextConfig) -> tuple[list[str], list[str]]:
    """As the file has them; of a cluster that is its name, since its pods are found only when they are needed."""
    if config.cluster is not None:
        return [f"cluster {config.cluster}"], [f"cluster {config.cluster}"]
    return config.order, config.inventory


def _local_urls(session: Session) -> tuple[list[str], list[str]]:
    try:
        local = find_context(session.with_option("context", LOCAL).settings)
    except UnreachableError:
        return [], []
    return list(local.services.get("order", ())), list(local.services.get("inventory", ()))
