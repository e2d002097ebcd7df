"""Lookup of the platform that commands act on: the local one, one in the config, or one in a cluster."""

import os
import re
from collections.abc import Mapping

from valerix_cli.addresses import in_the_clear
from valerix_cli.config import LOCAL, ContextConfig
from valerix_cli.contexts.model import Context
from valerix_cli.errors import BadUsageError, GuardError, UnreachableError
from valerix_cli.quoting import toml_table
from valerix_cli.settings import Settings, refuse_untrusted


def find_context(settings: Settings, environ: Mapping[str, str] = os.environ) -> Context:
    """Return the context that the settings select.

    Raises UnreachableError if it is local and none runs, BadUsageError if it is not defined or its token is malformed,
    GuardError if the token would be sent unencrypted or only an untrusted project defines it.
    """
    name = settings.setting("context").value
    if name == LOCAL:
        return _guarded(_local(environ), settings)
    known = settings.contexts
    if name not in known:
        refuse_untrusted(settings, name)
        raise BadUsageError(
            f"Unknown context `{name}`.",
            f"it is named by the {settings.setting('context').origin}; known names: {', '.join([LOCAL, *known])}",
            "valerix context list",
        )
    config, origin = known[name]
    if config.cluster is not None:
        from valerix_cli.contexts.from_cluster import reach  # noqa: PLC0415 - slow to import

        return reach(name, config, origin)
    return _guarded(_from_config(name, config, origin, environ), settings, allowed=config.allow_plain_http)


def _guarded(context: Context, settings: Settings, *, allowed: bool = False) -> Context:
    """Return the context. Raises GuardError if its token would be sent unencrypted to one of its addresses."""
    tokens = [token for token in (context.operator_token, context.service_token) if token]
    for token in tokens:
        if not re.fullmatch("[!-~]+", token):  # otherwise the HTTP client's error shows the token
            raise BadUsageError(
                f"A token of `{context.name}` cannot be sent.",
                f"it holds spaces, line breaks or letters that are not ASCII ({context.token_origin})",
                "valerix context show --origins",
            )
    if allowed or settings.insecure_token or not tokens:
        return context
    urls = [url for several in context.services.values() for url in several]
    if (exposed := in_the_clear(urls)) is not None:
        raise GuardError(
            f"The token of `{context.name}` was not sent.",
            f"{exposed} is neither https nor this machine, so others could read it on its way",
            f"use https, or set allow_plain_http = true in {toml_table(context.name)} of your own config, or add "
            "--insecure-token",
        )
    return context


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
        environ.get(config.redis_env or ""),
    )


def _local(environ: Mapping[str, str]) -> Context:
    from valerix_cli.local.instance import running  # noqa: PLC0415 - slow
    from valerix_cli.local.stack import (  # noqa: PLC0415 - slow
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
        raise UnreachableError(
            "No platform runs here.", f"no process holds the lock in {directory}", "valerix up --detach"
        )
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
