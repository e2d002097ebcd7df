"""`valerix dashboard`: the dashboard's address, and a link that signs in."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from valerix_cli.errors import UnreachableError
from valerix_cli.output import info, print_result
from valerix_cli.session import Session


def dashboard(
    ctx: typer.Context,
    *,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser, signed in.")] = False,
) -> None:
    """Show the address of this machine's dashboard, and a link that signs in: once, within ten minutes.

    Anyone may view the dashboard. The link grants an operator's rights for twelve hours.
    """
    from valerix_cli.local import sign_in_link  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.instance import running  # noqa: PLC0415 - the same
    from valerix_cli.local.stack import read_secrets, state_dir  # noqa: PLC0415 - the same
    from valerix_cli.output_models import Dashboard  # noqa: PLC0415 - the same
    from valerix_cli.views.toolbox import dashboard_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    directory = state_dir()
    stack = running(directory)
    found = [one for one in stack.services.get("frontend", ()) if one.url] if stack else []
    if not found:
        raise UnreachableError(
            "No dashboard runs here.", f"the platform in {directory} has none", "valerix up --detach"
        )
    secrets = read_secrets(directory)
    now = time.time()
    url = min(found, key=lambda one: one.state != "running").url
    code = sign_in_link.code(secrets.dashboard_password if secrets else "", now)
    link = f"{url}/sign-in?code={code}"
    print_result(
        Dashboard(url, link, datetime.fromtimestamp(int(now) + sign_in_link.CODE_SECONDS, UTC)),
        dashboard_view,
        session.output,
    )
    if open_it and typer.launch(link) != 0:
        info("No browser could be opened here.", session.output)
