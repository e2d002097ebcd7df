"""valerix version."""

import platform

import typer

from valerix_cli import __version__
from valerix_cli.output import print_result
from valerix_cli.output_models import Version
from valerix_cli.session import Session
from valerix_cli.views.toolbox import version_view


def version(ctx: typer.Context) -> None:
    """Print the version."""
    session: Session = ctx.obj
    system = f"{platform.system()} {platform.machine()}"
    print_result(Version(__version__, platform.python_version(), system), version_view, session.output)
