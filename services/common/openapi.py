"""The OpenAPI document, completed by tokens, headers, and the responses of every endpoint.

It is generated once per process, since anyone may request it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute

from services.common import auth, rate_limit
from services.common.hosts import SAFE
from services.common.idempotency import KEY
from services.common.problems import PROBLEM_JSON, Problem, description_of

HEADERS = "response-headers"
"""The option of a handler that names the headers of its responses, by status."""

PLACED = ("Location", "Idempotent-Replayed")

_STRING = {"type": "string"}
_HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The request's own id if that is well-formed, else one that is made here. Logs have it too.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
    },
    "Retry-After": {
        "description": "Seconds after which it is worth another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "The scheme of the token (RFC 6750).", "required": True, "schema": _STRING},
    "Accept-Encoding": {
        "description": "Where the body's Content-Encoding was refused: what is taken.",
        "schema": {"const": "identity"},
    },
    "Location": {
        "description": "Where the order is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotent-Replayed": {
        "description": "The answer of an earlier request with this key, which was not executed again.",
        "schema": {"const": "true"},
    },
}
_BY_STATUS = {
    "401": ("WWW-Authenticate",),
    "415": ("Accept-Encoding",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
_KEY_HEADER = {
    "required": True,
    "schema": {"type": "string", "pattern": f'^({KEY.pattern}|"{KEY.pattern}")$'},
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of level `service` (deductions) or `operator` (administration, restocks).",
}


class Document(JsonRenderPlugin):
    """Renders the completed document as JSON."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._rendered is None:
            document = msgspec.json.decode(self.render_json(request, openapi_schema))
            self._rendered = msgspec.json.encode(complete(document, request.app))
        return self._rendered


def complete(document: dict[str, Any], app: Litestar) -> dict[str, Any]:
    """Add information from the middleware, the guards and the options of handlers to an OpenAPI document."""
    components = document.setdefault("components", {})
    _, schemas = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    components["schemas"] = schemas | components.get("schemas", {})
    components["securitySchemes"] = {"bearer": _BEARER}
    components["headers"] = _HEADERS
    for path, method, handler in _handlers(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            _complete_operation(operation, method, handler)
    return document


def _handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                yield route.path_format, str(method), handler


def _complete_operation(operation: dict[str, Any], method: str, handler: HTTPRouteHandler) -> None:
    operation["security"] = _security(handler)
    for parameter in operation.get("parameters", ()):
        _complete_parameter(parameter)
    responses = operation["responses"]
    for status in (400, 421) if method in SAFE else (400, 403, 415, 421):
        responses.setdefault(str(status), _problem(status))
    more: dict[int, tuple[str, ...]] = handler.opt.get(HEADERS, {})
    for status, response in responses.items():
        of_status = _BY_STATUS.get(status, ()) if PROBLEM_JSON in response.get("content", {}) else ()
        names = dict.fromkeys(("X-Request-ID", *of_status, *more.get(int(status), ())))
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _security(handler: HTTPRouteHandler) -> list[dict[str, list[str]]]:
    """Return the accepted tokens (OpenAPI 3.1 lists the roles); an empty entry if they are optional."""
    for guard in handler.resolve_guards():
        if (levels := auth.levels_of(guard)) is not None:
            return [{"bearer": [level.value]} for level in levels]
        if guard is rate_limit.public:
            return [{}, {"bearer": []}]
    return []


def _complete_parameter(parameter: dict[str, Any]) -> None:
    if parameter["name"] == "Idempotency-Key":  # handlers read it themselves, so it never has a wrong type
        parameter |= _KEY_HEADER
        return
    schema = parameter["schema"]  # a parameter is never null, only missing
    kinds = [kind for kind in schema.pop("oneOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema |= kinds[0]
    if isinstance(schema.get("type"), list):
        [schema["type"]] = [kind for kind in schema["type"] if kind != "null"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": description_of(status),
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
