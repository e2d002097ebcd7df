"""Base classes of all commands: loaded when called, with the global options before and after the command's name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from valerix_cli.options import GLOBAL_OPTIONS

_ONLINE = "valerix.online"


class Command(TyperCommand):
    """A command that accepts the global options besides its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _refuse_blank(ctx, args)
        rest = super().parse_args(ctx, args)
        _refuse_undecodable(ctx)
        return rest

    def invoke(self, ctx: Any) -> Any:
        if ctx.meta.get(_ONLINE):
            ctx.obj.warn_if_chaos_active()
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self.get_params(ctx), ctx, formatter)


class Group(TyperGroup):
    """A command with subcommands: accepts the global options, imports only the called one, else shows its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        alone = not args and not ctx.resilient_parsing
        rest = super().parse_args(ctx, ["--help"] if alone else [*args])
        _refuse_blank(ctx, args[: len(args) - len(rest)])
        return rest

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, LazyCommand):
            ctx.meta[_ONLINE] = command.target.online
            command = command.load()
        return name, command, rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append(
                    (name, command.get_short_help_str(limit=80))
                )
        width = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])


class App(typer.Typer):
    """A Typer with these classes; its help is plain text, which is fast, since it does not need Rich."""

    def __init__(self, summary: str, *, completion: bool = False) -> None:
        super().__init__(
            help=summary, cls=Group, rich_markup_mode=None, add_completion=completion, pretty_exceptions_enable=False
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        return super().command(name, **{"cls": Command, **settings})


@dataclass(frozen=True)
class Target:
    """The module of a command's code: a function, or an `App` named `app`.

    One that is `online` warns first if a gremlin is active.
    """

    name: str
    summary: str
    panel: str
    module: str
    attribute: str
    online: bool


class LazyCommand(Command):
    """A placeholder for listings and completion, which does not import the command's module."""

    def __init__(self, target: Target) -> None:
        super().__init__(name=target.name, help=target.summary, rich_markup_mode=None, rich_help_panel=target.panel)
        self.target = target

    def load(self) -> Any:
        found = getattr(import_module(self.target.module), self.target.attribute)
        if not isinstance(found, typer.Typer):
            app = App(self.target.summary)
            app.command(self.target.name)(found)
            found = app
        command = get_command(found)
        command.name = self.target.name
        return command


def _refuse_blank(ctx: Any, args: list[str]) -> None:
    """Refuse an empty option or argument, such as an unset variable of a script.

    Treated as missing it would have another meaning, such as a new random key for each retry.
    """
    for number, arg in enumerate(args):
        option, mark, value = arg.partition("=")
        if not arg.strip():
            before = args[number - 1] if number else ""
            ctx.fail(f"{before} has no value." if before.startswith("-") else "An argument is empty.")
        if option.startswith("--") and mark and not value.strip():
            ctx.fail(f"{option} has no value.")


def _refuse_undecodable(ctx: Any) -> None:
    """Refuse text that is not UTF-8, whose bytes Python maps to surrogates (PEP 383). Paths are exempt."""
    for param in ctx.command.get_params(ctx):
        value = ctx.params.get(param.name)
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
                ctx.fail(f"{max(param.opts, key=len)} is not UTF-8.")


def _write_options(params: list[Any], ctx: Any, formatter: Any) -> None:
    shared = set(map(id, GLOBAL_OPTIONS))
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Global options": []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None:
            kind = "Arguments" if param.param_type_name == "argument" else "Options"
            sections["Global options" if id(param) in shared else kind].append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
