"""Access levels: three, each with a bearer token that is compared in constant time."""

import enum
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.common.refusals import Forbidden, Unauthorized
from services.common.settings import ServiceSettings

AnyConnection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
Guard: TypeAlias = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]
"""Guards must be async: Litestar runs sync guards in a thread per request."""


class Level(enum.Enum):
    PUBLIC = "public"
    SERVICE = "service"
    OPERATOR = "operator"


class Access:
    """The valid tokens."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._tokens = [
            *((token.encode(), Level.SERVICE) for token in settings.service_tokens),
            *((token.encode(), Level.OPERATOR) for token in settings.operator_tokens),
        ]

    def level(self, authorization: str | None) -> Level:
        """Return the level of an Authorization header; without one it is public.

        Raises Unauthorized for a header that is not a valid bearer token.
        """
        if authorization is None:
            return Level.PUBLIC
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("Send Authorization: Bearer <token>")
        candidate = given.strip().encode()
        found = [level for token, level in self._tokens if hmac.compare_digest(token, candidate)]
        if not found:
            raise Unauthorized("This token is not in force")
        return found[0]


def level_of(connection: AnyConnection) -> Level:
    access: Access = connection.app.state.access
    return access.level(connection.headers.get("authorization"))


_LEVELS: dict[Guard, tuple[Level, ...]] = {}


def levels_of(guard: Any) -> tuple[Level, ...] | None:
    """Return the levels that a guard made by `only` accepts, None for any other guard."""
    return _LEVELS.get(guard)


def only(*allowed: Level) -> Guard:
    """Return a guard that accepts the named levels: 401 without a token, 403 with another level's."""
    names = " or ".join(level.value for level in allowed)

    async def guard(connection: AnyConnection, _: BaseRouteHandler) -> None:
        level = level_of(connection)
        if level is Level.PUBLIC:
            raise Unauthorized(f"This needs the {names} token")
        if level not in allowed:
            raise Forbidden(f"This needs the {names} token, not the {level.value} one")

    _LEVELS[guard] = allowed
    return guard


operator_only = only(Level.OPERATOR)
service_only = only(Level.SERVICE)
