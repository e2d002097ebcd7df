"""Settings, read once at the start from `VALERIX_*` variables into a frozen struct."""

import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from services.common.hosts import HostPattern
from services.common.mistakes import explained, in_words

PREFIX = "VALERIX_"
PLACEHOLDERS = frozenset({"changeme", "change-me", "placeholder", "secret", "token", "password", "example", "test"})

SECRET = ("_token", "_tokens", "_password")  # endings of the names of credential fields

Token = Annotated[str, msgspec.Meta(min_length=16)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
BaseUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^https?://(\[[0-9A-Fa-f:.]+\]|[^/\s:@?#\[\]]+)(:[0-9]{1,5})?(/[^\s?#]*)?$(?!\n)",
        description="an address such as http://127.0.0.1:3002",
    ),
]
S = TypeVar("S", bound="ServerSettings")


class SettingsError(Exception):
    """A variable is missing, malformed or still a placeholder. The message names it and the expected value."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every process that serves HTTP; field `port` is read from `VALERIX_PORT`, and so on."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    replica: str
    host: str = "127.0.0.1"
    allowed_hosts: tuple[HostPattern, ...] = ()
    log_level: typing.Literal["debug", "info", "warning", "error"] = "info"
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4096


class ServiceSettings(ServerSettings, frozen=True, kw_only=True):
    """Additional settings of each service with a database."""

    database_url: str
    redis_url: str
    service_tokens: Annotated[tuple[Token, ...], msgspec.Meta(min_length=1, max_length=2)]
    operator_tokens: Annotated[tuple[Token, ...], msgspec.Meta(min_length=1, max_length=2)]
    chaos_allowed: bool = False
    crash_at: str | None = None
    crash_signal: typing.Literal["kill", "stop"] = "kill"
    crash_skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    rate_limit_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 3000
    trusted_hops: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    database_connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 6
    database_pooled: bool = False


def read(cls: type[S], environ: Mapping[str, str]) -> S:
    """Read `cls` from `environ`. An empty variable counts as unset; lists are separated by commas.

    Raises SettingsError for the first variable that is missing or invalid.
    """
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        raw = environ.get(PREFIX + field.name.upper(), "").strip()
        if raw:
            given[field.name] = _split(raw) if typing.get_origin(hints[field.name]) is tuple else raw
        elif field.required:
            raise SettingsError(f"{PREFIX}{field.name.upper()} is not set")
    try:
        settings = msgspec.convert(given, cls, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(error, cls)) from None
    _refuse_placeholders(settings)
    return settings


def _split(raw: str) -> list[str]:
    return [part.strip() for part in raw.split(",") if part.strip()]


def _explain(error: msgspec.ValidationError, cls: type) -> str:
    where, how = explained(error, cls)
    return f"{PREFIX}{where.split('[')[0].upper()} {how}" if where else in_words(str(error))


def _refuse_placeholders(settings: ServerSettings) -> None:
    for name, tokens in _secrets(settings).items():
        for token in tokens:
            if any(token.lower().startswith(word) for word in PLACEHOLDERS) or len(set(token)) < 6:  # noqa: PLR2004 - "aaaa…" and friends
                raise SettingsError(
                    f"{PREFIX}{name.upper()} holds a placeholder: generate one, e.g. `openssl rand -hex 24`"
                )
    if isinstance(settings, ServiceSettings) and set(settings.service_tokens) & set(settings.operator_tokens):
        raise SettingsError("VALERIX_SERVICE_TOKENS and VALERIX_OPERATOR_TOKENS share a token: levels would be one")


def _secrets(settings: ServerSettings) -> dict[str, tuple[str, ...]]:
    """Return the credential fields by name."""
    found = {name: getattr(settings, name) for name in settings.__struct_fields__ if name.endswith(SECRET)}
    return {name: value if isinstance(value, tuple) else (value,) for name, value in found.items()}
