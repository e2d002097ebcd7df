"""A platform to talk to: where its services are, and what opens its doors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.settings import LOCAL, ContextConfig, Settings


@dataclass(frozen=True)
class Context:
    """The replicas of each service by their base URLs, and the operator's token if there is one."""

    name: str
    services: Mapping[str, tuple[str, ...]]
    operator_token: str | None
    token_origin: str
    origin: str

    @property
    def is_local(self) -> bool:
        return self.name == LOCAL


def find_context(settings: Settings, environ: Mapping[str, str] = os.environ) -> Context:
    """The context that the settings name. Raises UnreachableError when it is local and nothing runs."""
    name = settings.setting("context").value
    if name == LOCAL:
        return _local(environ)
    known = settings.contexts
    if name not in known:
        raise BadUsageError(
            f"There is no context called `{name}`.",
            f"it is named by the {settings.setting('context').origin}; known are {', '.join([LOCAL, *known])}",
            "valerix context list",
        )
    return _from_config(name, *known[name], environ)


def _from_config(name: str, config: ContextConfig, origin: str, environ: Mapping[str, str]) -> Context:
    services = {"order": tuple(config.order), "inventory": tuple(config.inventory)}
    if config.operator_token_env:
        return Context(name, services, environ.get(config.operator_token_env), f"${config.operator_token_env}", origin)
    return Context(name, services, config.operator_token, origin if config.operator_token else "none given", origin)


def _local(environ: Mapping[str, str]) -> Context:
    from valerix_cli.local.state import SECRETS_FILE, STACK_FILE, read_secrets, read_stack, state_dir  # noqa: PLC0415 - slow

    directory = state_dir(environ)
    stack = read_stack(directory)
    if stack is None:
        raise UnreachableError(
            "No platform runs here.", f"there is no {STACK_FILE} in {directory}", "valerix up --detach"
        )
    try:
        secrets = read_secrets(directory)
        token, token_origin = (secrets.operator_token, str(directory / SECRETS_FILE)) if secrets else (None, "none")
    except PermissionError:
        token, token_origin = None, f"{directory / SECRETS_FILE} belongs to another user"
    services = {
        name: tuple(replica.url for replica in sorted(replicas, key=lambda one: one.state != "running") if replica.url)
        for name, replicas in stack.services.items()
    }
    return Context(LOCAL, services, token, token_origin, str(directory / STACK_FILE))
