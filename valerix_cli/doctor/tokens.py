"""Checks of the operator's token: presence, and acceptance by each service."""

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

import httpx

from valerix_cli.contexts.model import Context
from valerix_cli.doctor.environment import Replica
from valerix_cli.doctor.findings import AGAIN, CheckTask, Finding, Subject
from valerix_cli.quoting import toml_table, word

_TOKEN = Subject("access", "token")
DOORS = {
    "order": "/api/admin/breaker",
    "inventory": "/api/inventory/transactions/00000000-0000-0000-0000-000000000000",
}
"""Paths that require an operator's token on each service, whether gremlins are allowed or not."""


def task(context: Context) -> CheckTask:
    return CheckTask(_TOKEN, partial(_task, context), "valerix context show --origins")


def _task(context: Context) -> Iterator[Finding]:
    if context.operator_token:
        yield _TOKEN.ok(f"There is one, from {context.token_origin}.")
    elif context.is_local:
        yield _TOKEN.failed(
            f"It cannot be read: {context.token_origin}.", "valerix doctor, as the user who ran valerix up"
        )
    else:
        yield _TOKEN.warning(f"There is none ({context.token_origin}): only public commands work.", _given(context))


def check(context: Context, replica: Replica, http: httpx.Client) -> Finding:
    """Check that `replica` accepts the token."""
    answer = http.get(DOORS[replica.service], headers={"Authorization": f"Bearer {context.operator_token}"})
    return evaluate(Subject("access", replica.name), answer.status_code, AGAIN if context.is_local else _given(context))


def evaluate(about: Subject, status: int, hint: str) -> Finding:
    if status == HTTPStatus.UNAUTHORIZED:
        return about.failed("The token is not valid.", hint)
    if status == HTTPStatus.FORBIDDEN:
        return about.failed("The token is not an operator's token.", hint)
    if status != HTTPStatus.OK:
        return about.skipped(f"The token could not be verified: the service answered {status}.")
    return about.ok("The token is an operator's token.")


def _given(context: Context) -> str:
    """Return how to set the right token."""
    if context.token_origin.startswith("$"):
        return f"export {word(context.token_origin[1:])}=…, the operator's token of that platform"
    return f"set operator_token_env of {toml_table(context.name)} in {context.origin}"
