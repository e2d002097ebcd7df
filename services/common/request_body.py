"""Request bodies: decoded strictly by msgspec, and described in the OpenAPI document.

Litestar's own `data` parameter converts leniently (the string "1" becomes the number 1), so handlers
take the raw `body` and decode it here.
"""

import functools
import json
import re
from collections.abc import Iterable
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

from services.common.mistakes import explain
from services.common.refusals import InvalidBody, Refusal, UnsupportedMediaType

T = TypeVar("T")

MAX_BYTES = 65_536
UTF_8 = {"utf-8", "utf8", "us-ascii"}  # charsets that UTF-8 decoding covers (RFC 8259, 8.1, has no other)
_CHARSET = re.compile(r"(?:^|;)\s*charset\s*=\s*(\"[^\"]*\"|[^;\s]*)")
CLIENT_DISCONNECTED = "client disconnected prematurely"
"""Litestar's error detail when the client disconnects within the body. Not a bug; no response can be sent."""


async def read(request: Request[Any, Any, Any]) -> bytes:
    """Return the whole body. Raises Litestar's exceptions for a body that is too large, or a disconnected client."""
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        raise RequestEntityTooLarge
    body = b""
    more = True
    while more:
        message = cast("HTTPReceiveMessage", await request.receive())
        if message["type"] == "http.disconnect":
            raise InternalServerException(CLIENT_DISCONNECTED)
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise RequestEntityTooLarge
        more = message.get("more_body", False)
    return body


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the value in `body`. Raises InvalidBody (422) with the error and its place."""
    try:
        value = decoder.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidBody(explain(error, decoder.type)) from None
    except UnicodeDecodeError:
        raise InvalidBody("The body is not UTF-8") from None
    except RecursionError:
        raise InvalidBody("The body is nested too deeply") from None
    if body.count(b":") > _least_members(decoder.type):  # type: ignore[arg-type]  # a type is hashable
        refuse_duplicates(body)
    return value


def refuse_duplicates(body: bytes) -> None:
    """Raise InvalidBody if any object in valid JSON has two members of one name (RFC 7493, 2.3), at any depth.

    msgspec uses the last of them, other parsers the first. A body with no more colons than required members has no
    duplicates, so the usual body is not parsed twice.
    """
    try:
        _pairs.decode(body.decode())
    except (RecursionError, ValueError):
        raise InvalidBody("The body is not JSON for all readers: it is nested too deeply, or not in UTF-8") from None


@functools.cache
def _least_members(kind: Any) -> int:
    """Return the number of members that the JSON of a `kind` always has."""
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return sum(field.required for field in msgspec.structs.fields(kind)) if is_struct else 0


def _object(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise InvalidBody(f"`{name}` is there twice in one object")
        names.add(name)


def _ignore(_: str) -> None:
    """Ignore a number: converting a long one is expensive or fails."""


_pairs = json.JSONDecoder(object_pairs_hook=_object, parse_int=_ignore, parse_float=_ignore, parse_constant=_ignore)


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: refuse a body whose Content-Type is not JSON (415)."""
    _require_media_type(connection, "application/json")


async def ndjson_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: refuse a body whose Content-Type is not NDJSON (415)."""
    _require_media_type(connection, "application/x-ndjson")


def _require_media_type(connection: ASGIConnection[Any, Any, Any, Any], expected: str) -> None:
    given = connection.headers.getall("content-type", [])
    if given == [expected]:
        return
    if len(given) > 1:
        raise UnsupportedMediaType(f"Send one Content-Type, {expected}, not {len(given)}")
    kind, _, parameters = (given[0] if given else "").lower().partition(";")
    if kind.strip() != expected:
        raise UnsupportedMediaType(f"Send Content-Type: {expected}" + (f", not {kind.strip()!r}" if kind else ""))
    charsets = {charset.strip('"') for charset in _CHARSET.findall(parameters)}
    if charsets - UTF_8:
        raise UnsupportedMediaType(f"Send the body in UTF-8, not in {', '.join(sorted(charsets))}")


def encoding_refusal(encodings: Iterable[bytes]) -> Refusal | None:
    """Return why a body with these Content-Encoding headers (RFC 9110, 8.4) is refused; None for `identity`."""
    codings = {coding.strip().lower().decode("latin-1") for line in encodings for coding in line.split(b",")}
    if not (unknown := codings - {"identity", ""}):
        return None
    refusal = UnsupportedMediaType(f"Send the body without Content-Encoding, not as {', '.join(sorted(unknown))}")
    refusal.headers["Accept-Encoding"] = "identity"  # RFC 9110, 15.5.16: for an encoding that is not accepted
    return refusal


def operation_with_body(
    body_type: Any, media_type: str = "application/json", *, schema: dict[str, Any] | None = None
) -> type[Operation]:
    """Return an OpenAPI operation class with this request body; `schema` overrides the type's schema."""
    (made,), components = msgspec.json.schema_components([body_type])
    inline: Any = schema or _inline_refs(made, components)

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content={media_type: OpenAPIMediaType(schema=inline)}, required=True)

    return Described


def _inline_refs(schema: Any, components: dict[str, Any]) -> Any:
    """Return `schema` with references replaced by what they refer to."""
    match schema:
        case {"$ref": str(reference)}:
            return _inline_refs(components[reference.rpartition("/")[2]], components)
        case dict():
            return {name: _inline_refs(part, components) for name, part in schema.items()}
        case list():
            return [_inline_refs(part, components) for part in schema]
        case _:
            return schema
