"""A platform to talk to: where its services are, and what opens its doors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.settings import LOCAL, ContextConfig, Settings

if TYPE_CHECKING:  # an extra, and slow
    from valerix_cli.cluster.forward import Forwards


@dataclass(frozen=True)
class Context:
    """The replicas of each service by their base URLs, and the operator's token if there is one."""

    name: str
    services: Mapping[str, tuple[str, ...]]
    operator_token: str | None
    token_origin: str
    origin: str
    service_token: str | None = None
    order_database: str | None = None
    inventory_database: str | None = None
    redis: str | None = None

    forwards: "Forwards | None" = None
    """How its services are reached where they are pods of a cluster."""

    @property
    def place(self) -> str:
        """Where it is, for people: a cluster, or the addresses of the order service."""
        return str(self.forwards or ", ".join(self.services["order"]))

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
    config, origin = known[name]
    if config.cluster is not None:
        from valerix_cli.cluster.reach import reach  # noqa: PLC0415 - an extra, and slow

        return reach(name, config, origin)
    return _from_config(name, config, origin, environ)


def _from_config(name: str, config: ContextConfig, origin: str, environ: Mapping[str, str]) -> Context:
    services = {"order": tuple(config.order), "inventory": tuple(config.inventory)}
    token, token_origin = config.operator_token, origin if config.operator_token else "none given"
    if config.operator_token_env:
        token, token_origin = environ.get(config.operator_token_env), f"${config.operator_token_env}"
    return Context(
        name,
        services,
        token,
        token_origin,
        origin,
        environ.get(config.service_token_env or ""),
        environ.get(config.order_database_env or ""),
        environ.get(config.inventory_database_env or ""),
    )


def _local(environ: Mapping[str, str]) -> Context:
    from valerix_cli.local.claim import running  # noqa: PLC0415 - slow
    from valerix_cli.local.state import (  # noqa: PLC0415 - slow
        INVENTORY_DB,
        ORDER_DB,
        SECRETS_FILE,
        STACK_FILE,
        auditor_url,
        cache_url,
        read_secrets,
        state_dir,
    )

    directory = state_dir(environ)
    stack = running(directory)
    if stack is None:
        raise UnreachableError("No platform runs here.", f"nobody holds the lock in {directory}", "valerix up --detach")
    secrets, token_origin = None, "none"
    try:
        if secrets := read_secrets(directory):
            token_origin = str(directory / SECRETS_FILE)
    except OSError as error:
        token_origin = f"{directory / SECRETS_FILE}: {error.strerror}"
    except UnreachableError as error:
        token_origin = error.what.rstrip(".")
    services = {
        name: tuple(replica.url for replica in sorted(replicas, key=lambda one: one.state != "running") if replica.url)
        for name, replicas in stack.services.items()
    }
    return Context(
        LOCAL,
        services,
        secrets.operator_token if secrets else None,
        token_origin,
        str(directory / STACK_FILE),
        secrets.service_token if secrets else None,
        auditor_url(stack, secrets, ORDER_DB) if secrets else None,
        auditor_url(stack, secrets, INVENTORY_DB) if secrets else None,
        cache_url(stack, secrets, environ) if secrets else None,
    )
