"""The contents of valerix.toml and of the user's config.toml."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from valerix_cli.addresses import check_base_url
from valerix_cli.errors import BadUsageError
from valerix_cli.options import Format
from valerix_cli.reasons import why
from valerix_cli.units import parse_positive_duration

LOCAL = "local"


class ContextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[contexts.NAME]` of a config file; the token is better kept in an environment variable.

    The databases are the auditor's connection strings, which contain a password, so only environment variables can hold
    them; so is the URL of Redis, whose cached responses the auditor reads.
    With `cluster`, a context of the kubeconfig, everything else is found there, and `valerix cluster` may change it;
    `cluster_uid` is the UID of its namespace kube-system, without which the context is bound to the first cluster used.
    `allow_plain_http` permits tokens to be sent unencrypted.
    """

    order: list[str] = []
    inventory: list[str] = []
    operator_token: str | None = None
    operator_token_env: str | None = None
    service_token_env: str | None = None
    order_database_env: str | None = None
    inventory_database_env: str | None = None
    redis_env: str | None = None
    cluster: str | None = None
    cluster_uid: str | None = None
    namespace: str | None = None
    overlay: str | None = None
    allow_plain_http: bool = False

    def __post_init__(self) -> None:
        if self.cluster is None and not (self.order and self.inventory):
            raise ValueError("a context has the addresses of `order` and `inventory`, or the name of a `cluster`")
        if self.cluster is None and (self.namespace or self.overlay or self.cluster_uid):
            raise ValueError("`namespace`, `overlay` and `cluster_uid` need a `cluster`")
        for url in (*self.order, *self.inventory):
            check_base_url(url)


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings, and contexts by name."""

    context: str | None = None
    output: Format | None = None
    timeout: str | int | float | None = None
    no_input: bool | None = None
    contexts: dict[str, ContextConfig] = {}


def parse_config(content: bytes, path: Path) -> ConfigFile:
    """Parse a config file. Raises BadUsageError if it is invalid."""
    try:
        config = msgspec.convert(tomllib.loads(content.decode()), type=ConfigFile)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        hint = "correct it; `valerix context show --origins` lists the files that are read"
        raise BadUsageError(f"{path} is invalid.", why(error, ConfigFile), hint) from error
    if LOCAL in config.contexts:
        raise BadUsageError(
            f"{path} is invalid.",
            f"the context `{LOCAL}` is what `valerix up` started and is described nowhere else",
            f"give [contexts.{LOCAL}] another name",
        )
    if config.timeout is not None:
        seconds(str(config.timeout), str(path))
    return config


def seconds(text: str, origin: str) -> float:
    """Return a timeout in seconds. Raises BadUsageError if it is malformed."""
    try:
        return parse_positive_duration(text)
    except typer.BadParameter as error:
        raise BadUsageError(f"Invalid time limit in {origin}.", why(error), "write 30s") from error


def describe(config: ConfigFile) -> Iterator[str]:
    """Yield the settings of a file one by one; a token is masked."""
    for name in ("context", "output", "timeout", "no_input"):
        if (value := getattr(config, name)) is not None:
            yield f"{name} = {_format(value)}"
    for name, context in config.contexts.items():
        given = msgspec.structs.asdict(context)
        settings = [f"{key} = {_format(value, key)}" for key, value in given.items() if value not in ([], None, False)]
        yield f"contexts.{name}: {', '.join(settings)}"


def _format(value: Any, name: str = "") -> str:
    if name == "operator_token":
        return "(given)"
    return " ".join(value) if isinstance(value, list) else str(value)
