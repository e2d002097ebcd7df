"""POST /api/orders without the framework around it, which costs several times what placing an order does.

The guards, the handler and the problems are those of the route it stands for. That one stays registered: it
describes the endpoint, and serves every other spelling of its path.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from services.common import problems
from services.common.auth import Guard

AnyRequest: TypeAlias = Request[Any, Any, State]


class Answer(msgspec.Struct, frozen=True):
    """JSON, ready to be sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    def as_response(self) -> Response[bytes]:
        return Response(self.body, status_code=self.status, headers=self.headers, media_type="application/json")


class Shortcut:
    """Answers `method` `path` by `handle` itself, and has `app` answer everything else.

    `handle` gets the request and its body, which the app's route for the same endpoint says the limit of.
    """

    def __init__(
        self,
        app: Litestar,
        method: str,
        path: str,
        guards: Sequence[Guard],
        handle: Callable[[AnyRequest, bytes], Awaitable[Answer]],
    ) -> None:
        self._app = app
        self._endpoint = (method, path)
        self._guards = guards
        self._handle = handle
        self._route: HTTPRouteHandler = next(
            route.route_handler_map[method][0]  # type: ignore[union-attr, index]  # only an HTTP route has this path
            for route in app.routes
            if route.path == path
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or (scope["method"], scope["path"]) != self._endpoint:
            await self._app(scope, receive, send)
            return
        scope["litestar_app"], scope["route_handler"] = self._app, self._route
        scope["path_template"] = self._endpoint[1]
        request: AnyRequest = Request(scope, receive, send)
        try:
            for guard in self._guards:
                await guard(request, self._route)
            answer = await self._handle(request, await request.body())
        except Exception as error:  # noqa: BLE001 - each becomes a problem, as the framework does it
            await problems.of(request, error).to_asgi_response(None, request)(scope, receive, send)
        else:
            await _send(answer, send)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
