"""Request bodies: decoded strictly by msgspec, and described in the OpenAPI document all the same.

Litestar's own `data` parameter converts leniently (the string "1" becomes the number 1), so handlers
take the raw `body` and decode it here.
"""

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody
from litestar.types import HTTPReceiveMessage

from services.common.refusals import InvalidBody, UnsupportedMediaType

T = TypeVar("T")

LIMIT = 65_536  # bytes
GONE = "client disconnected prematurely"
"""What Litestar says where a caller hangs up in the middle of its body: no bug, and nobody is there to hear of it."""


async def read(request: Request[Any, Any, Any]) -> bytes:
    """Return the whole body. Raises what Litestar does for one that is too large, or whose sender went away."""
    if int(request.headers.get("content-length", 0)) > LIMIT:
        raise RequestEntityTooLarge
    body = b""
    more = True
    while more:
        message = cast("HTTPReceiveMessage", await request.receive())
        if message["type"] == "http.disconnect":
            raise InternalServerException(GONE)
        body += message.get("body", b"")
        if len(body) > LIMIT:
            raise RequestEntityTooLarge
        more = message.get("more_body", False)
    return body


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the value in `body`. Raises InvalidBody (422) saying what is wrong and where."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidBody(str(error)) from None
    except UnicodeDecodeError:
        raise InvalidBody("The body is not UTF-8") from None


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: refuse a body that does not say it is JSON (415)."""
    _insist(connection, "application/json")


async def ndjson_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: refuse a body that does not say it is NDJSON (415)."""
    _insist(connection, "application/x-ndjson")


def _insist(connection: ASGIConnection[Any, Any, Any, Any], wanted: str) -> None:
    given = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise UnsupportedMediaType(f"Send Content-Type: {wanted}" + (f", not {given!r}" if given else ""))


def described(body_type: Any, media_type: str = "application/json") -> type[Operation]:
    """An OpenAPI operation that says which body the handler takes."""
    (schema,), components = msgspec.json.schema_components([body_type])
    inline = _inlined(schema, components)

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content={media_type: OpenAPIMediaType(schema=inline)}, required=True)

    return Described


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """`schema` with what it refers to in the place of each reference."""
    match schema:
        case {"$ref": str(reference)}:
            return _inlined(components[reference.rpartition("/")[2]], components)
        case dict():
            return {name: _inlined(part, components) for name, part in schema.items()}
        case list():
            return [_inlined(part, components) for part in schema]
        case _:
            return schema
