"""A service with only the parts that all services share, called through ASGI."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import psycopg
from litestar import Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery, RawBody
from litestar.response import Stream
from litestar.types import ASGIApp
from psycopg_pool import PoolTimeout

from services.common import auth, rate_limit, request_body
from services.common.app import build_app
from services.common.auth import Access, Level
from services.common.middleware import RequestMiddleware
from services.common.refusals import RateLimited
from services.common.settings import ServiceSettings, read
from tests.unit.common.environment import ENVIRON, TOKENS

SECRET = "only-in-the-body"


class Thing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    count: int


_thing = msgspec.json.Decoder(Thing)
ERRORS: dict[str, Exception] = {
    "bug": RuntimeError(SECRET),
    "key": KeyError(SECRET),
    "operational": psycopg.OperationalError("connection refused"),
    "interface": psycopg.InterfaceError("the connection is closed"),
    "pool": PoolTimeout("couldn't get a connection"),
    "data": psycopg.DataError("out of range"),
    "refusal": RateLimited("There are 3", retry_after=7, there=3, names=["a"]),
}


@get("/fail/{how:str}")
async def fail(how: FromPath[str]) -> None:
    raise ERRORS[how]


@get("/status/{code:int}")
async def status(code: FromPath[int]) -> None:
    raise HTTPException(status_code=code, detail="as Litestar would")


@get("/things/{number:int}")
async def thing(number: FromPath[int], size: FromQuery[int] = 1) -> dict[str, int]:
    return {"number": number, "size": size}


@post("/things", guards=[request_body.json_only], status_code=200)
async def make(body: RawBody) -> Thing:
    return decode(body)


@post("/broken", status_code=200)
async def broken(body: RawBody) -> None:
    raise RuntimeError(f"could not digest {len(body)} bytes")


@get("/stream")
async def stream() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    return Stream(parts())


@get("/request-id")
async def request_id(request: Request[Any, Any, Any]) -> Response[None]:
    return Response(None, headers={"X-Inside": request.headers.get("x-request-id", "none")})


@get("/public", guards=[rate_limit.public])
async def public() -> None: ...


@get("/service", guards=[auth.service_only])
async def service() -> None: ...


@get("/operator", guards=[auth.operator_only])
async def operator() -> None: ...


@get("/either", guards=[auth.only(Level.SERVICE, Level.OPERATOR)])
async def either() -> None: ...


def decode(raw: bytes) -> Thing:
    return request_body.decode(raw, _thing)


class Unlimited:
    """A rate limit without limit."""

    async def spend(self, _: auth.AnyConnection) -> None: ...


def settings(**variables: str) -> ServiceSettings:
    return read(ServiceSettings, ENVIRON | {f"VALERIX_{name}": value for name, value in variables.items()})


def build(state: Mapping[str, Any] | None = None) -> ASGIApp:
    both = settings(SERVICE_TOKENS=",".join(TOKENS[:2]), OPERATOR_TOKENS=",".join(TOKENS[2:]))
    handlers = [fail, status, thing, make, broken, stream, request_id, public, service, operator, either]
    return RequestMiddleware(
        build_app("Things", handlers, [], {"access": Access(both), "rate_limit": Unlimited(), **(state or {})})
    )


@asynccontextmanager
async def client(app: ASGIApp | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the service. Exceptions of the service are raised by the client."""
    transport = httpx.ASGITransport(app=app or build(), raise_app_exceptions=True)  # type: ignore[arg-type]  # two types of the same protocol
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield opened
