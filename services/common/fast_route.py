"""Serves one endpoint without Litestar's routing, which costs several times as much as the endpoint itself.

Its guards, handler and problems are those of the registered route, which documents the endpoint and serves other
spellings of its path.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from litestar import Litestar, Request, Response
from litestar.datastructures import Headers, State
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send
from multidict import CIMultiDict

from services.common import problems, request_body
from services.common.auth import Guard

AnyRequest: TypeAlias = Request[Any, Any, State]
Handle: TypeAlias = Callable[[AnyRequest, bytes], Awaitable[Response[Any]]]


class _Request(Request[Any, Any, State]):
    """Litestar's request, initialized lazily, since that takes 3 us.

    The handlers and guards of fast routes use only its scope and headers, which need no initialization.
    """

    __slots__ = ("_headers", "_io", "_is_initialized")

    def __init__(self, scope: HTTPScope, *io: Any) -> None:  # the parent's is called by `__getattr__`
        self.scope, self._io = scope, io
        self._headers: Headers | None = None
        self._is_initialized = False

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.scope["headers"]]
            self._headers = Headers(CIMultiDict(decoded))
        return self._headers

    def __getattr__(self, name: str) -> Any:
        """Initialize the request on the first access to a missing attribute."""
        if self._is_initialized:
            raise AttributeError(name)
        self._is_initialized = True
        super().__init__(self.scope, *self._io)
        return getattr(self, name)


class FastRoute:
    """Serves `method` `path` by `handle`, and everything else by `app`."""

    def __init__(self, app: Litestar, method: str, path: str, guards: Sequence[Guard], handle: Handle) -> None:
        self.app = app
        self.endpoint = (method, path)
        self.method, self.url = method.encode(), path.encode()
        self._guards = guards
        self._handle = handle
        self._route: HTTPRouteHandler = next(
            route.route_handler_map[method][0]  # type: ignore[union-attr, index]  # only an HTTP route has this path
            for route in app.routes
            if route.path == path
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or (scope["method"], scope["path"]) != self.endpoint:
            await self.app(scope, receive, send)
            return
        response = await self._answer(request := self._request(scope, receive, send), None)
        if type(response) is Response and isinstance(response.content, bytes):
            await send_response(response, response.content, send)
        else:
            await response.to_asgi_response(None, request)(scope, receive, send)

    async def answer(self, scope: HTTPScope, content: bytes) -> Response[Any]:
        """Return the response to a request with body `content`; errors become problem documents."""
        return await self._answer(self._request(scope), content)

    async def _answer(self, request: AnyRequest, content: bytes | None) -> Response[Any]:
        """Return the response; `content` None: the body has not been read yet."""
        try:
            for guard in self._guards:
                await guard(request, self._route)
            return await self._handle(request, await request_body.read(request) if content is None else content)
        except Exception as error:  # noqa: BLE001 - each becomes a problem, as the framework does it
            return problems.from_exception(request, error)

    def _request(self, scope: HTTPScope, *io: Any) -> AnyRequest:
        scope["litestar_app"], scope["route_handler"] = self.app, self._route
        scope["path_template"] = self.endpoint[1]
        return _Request(scope, *io)


async def send_response(response: Response[bytes], content: bytes, send: Send) -> None:
    """Send a response whose body is `content`."""
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    headers += [
        (b"content-type", str(response.media_type).encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": response.status_code or 200, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
