"""What every command gets as `ctx.obj`: how to talk, whom to talk to."""

from dataclasses import dataclass, field, replace
from typing import Any

from valerix_cli.options import Format, GlobalOptions
from valerix_cli.output import Output


@dataclass(frozen=True)
class Session:
    """One run of the command line."""

    options: GlobalOptions = field(default_factory=GlobalOptions)

    @property
    def output(self) -> Output:
        return Output(self.options.output or Format.TABLE, self.options.quiet, self.options.verbose)

    def with_option(self, name: str, value: Any) -> "Session":
        """The same session, with a global option set."""
        return replace(self, options=replace(self.options, **{name: value}))
