"""The `ctx.obj` of every command: settings, output, confirmation and clients."""

import os
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from valerix_cli.errors import CliError, GuardError
from valerix_cli.options import GlobalOptions
from valerix_cli.output import Output, ask_for_text, ask_yes_no, debug, info, warn
from valerix_cli.quoting import command

if TYPE_CHECKING:  # each of these takes time, which --help should not
    from valerix_cli.clients.http import Replicas
    from valerix_cli.clients.inventory import InventoryClient
    from valerix_cli.clients.orders import OrderClient
    from valerix_cli.contexts.model import Context
    from valerix_cli.projects import Project
    from valerix_cli.settings import Settings

_WAIT = 60.0  # seconds to wait for a condition, unless --timeout is given
_LISTED = 500  # characters of an untrusted project's settings; `context trust` shows all
_CHAOS_CHECK_TIMEOUT = 0.3  # seconds at most to check for active gremlins


@dataclass(frozen=True)
class Session:
    """One run of the command line; settings, context and clients are created on first use."""

    options: GlobalOptions = field(default_factory=GlobalOptions)
    printed: set[str] = field(default_factory=set)
    """Messages that are printed once."""

    def with_option(self, name: str, value: Any) -> "Session":
        """Return a copy of the session with a global option set."""
        return replace(self, options=replace(self.options, **{name: value}))

    @cached_property
    def settings(self) -> "Settings":
        from valerix_cli.settings import directory_of_this_run, read_settings  # noqa: PLC0415 - see above

        settings = read_settings(self.options, os.environ, directory_of_this_run())
        project = settings.project
        if project is not None and project.state != "trusted" and str(project.path) not in self.printed:
            self.printed.add(str(project.path))
            self._warn_untrusted(project)
        return settings

    @cached_property
    def output(self) -> Output:
        format_ = self.settings.setting("output").value
        return Output(format_, quiet=self.options.quiet, verbose=self.options.verbose)

    @cached_property
    def context(self) -> "Context":
        from valerix_cli.contexts.find import find_context  # noqa: PLC0415 - see above

        return find_context(self.settings)

    @cached_property
    def orders(self) -> "OrderClient":
        from valerix_cli.clients.orders import OrderClient  # noqa: PLC0415 - see above

        return OrderClient(self.replicas("order"))

    @cached_property
    def inventory(self) -> "InventoryClient":
        from valerix_cli.clients.inventory import InventoryClient  # noqa: PLC0415 - see above

        return InventoryClient(self.replicas("inventory"))

    def replicas(self, service: str, limit: float | None = None) -> "Replicas":
        """Return the HTTP client of a service of this context."""
        from valerix_cli.clients.http import Replicas  # noqa: PLC0415 - see above

        limit = limit or self.settings.setting("timeout").value
        return Replicas(self.context, service, limit=limit, explain=lambda text: debug(text, self.output))

    @property
    def wait(self) -> float:
        """Seconds to wait for a condition."""
        return float(self.settings.setting("timeout").value or _WAIT)

    def confirm_remote(self, action: str) -> None:
        """Ask for confirmation of a write to a platform that is not local. Raises GuardError if it is not given."""
        if not self.context.is_local:
            where = f"{action} on `{self.context.name}` ({self.context.place})"
            self.require_confirmation(where, "it is not the local platform")

    def require_confirmation(self, action: str, why: str) -> None:
        """Ask for confirmation of an action with effects beyond this machine. Raises GuardError if it is not given."""
        if self.options.yes:
            info(f"About to {action}.", self.output)
            return
        if self.settings.setting("no_input").value or not sys.stdin.isatty():
            raise GuardError(
                f"Not done: {action}.", f"{why}, and confirmation is impossible without a terminal", "add --yes"
            )
        if not ask_yes_no(f"{action[0].upper()}{action[1:]}?"):
            raise GuardError(f"Not done: {action}.", "the answer was no", "valerix --context local, for this machine")

    def require_typed_name(self, action: str, why: str, name: str, given: str | None, option: str) -> None:
        """Require the name of the data to be lost, typed on the terminal or as `option`; `--yes` alone is not enough.

        Raises GuardError on any other name.
        """
        if given is None and (self.settings.setting("no_input").value or not sys.stdin.isatty()):
            hint = f"add {command('', **{option: name}).strip()}, whether or not there is a --yes"
            raise GuardError(f"Not done: {action}.", f"{why}, and confirmation is impossible without a terminal", hint)
        typed = ask_for_text(f"{action[0].upper()}{action[1:]}? Type {name} to do so") if given is None else given
        if typed != name:
            raise GuardError(
                f"Not done: {action}.", f"{typed!r} is not {name!r}", f"type the name, {name}, if it is meant"
            )

    def _warn_untrusted(self, project: "Project") -> None:
        from valerix_cli.config import describe  # noqa: PLC0415 - see above

        why = "it has changed since it was trusted" if project.state == "changed" else "it is not trusted"
        printed = [f"it would set {'; '.join(describe(project.config)) or 'nothing'}"] if project.config else []
        printed += [f"{project.wrong.what} {project.wrong.why}"] if project.wrong else []
        hint = "" if project.wrong else f" Trust it: {command('valerix context trust', project.path)}"
        listed = "; ".join(printed)
        shown = listed if len(listed) <= _LISTED else f"{listed[:_LISTED]}…"
        warn(f"Ignored {project.path}: {why}; {shown}.{hint}", Output(quiet=self.options.quiet))

    def warn_if_chaos_active(self) -> None:
        """Warn on stderr if a gremlin is active. Costs one short GET, and never raises."""
        if self.options.quiet:
            return
        from valerix_cli.clients.inventory import InventoryClient  # noqa: PLC0415 - see above

        try:
            live = InventoryClient(self.replicas("inventory", _CHAOS_CHECK_TIMEOUT)).chaos().live
        except CliError:  # no platform, token or response: the command itself reports errors that matter
            return
        if live is None:
            return
        from valerix_cli.clients.chaos_text import notice  # noqa: PLC0415 - see above

        warn(notice(live), self.output)
