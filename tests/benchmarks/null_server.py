"""A server that confirms every order without doing anything, for measuring load generators."""

from typing import Any

_ORDER = (
    b'{"order_id":"a187cac7-537e-5027-8f80-d80f43a456da","item_id":"hot","quantity":1,"status":"confirmed",'
    b'"reason":null,"idempotency_key":"bench-0-1","attempts":1,"created_at":"2026-01-01T00:00:00Z",'
    b'"updated_at":"2026-01-01T00:00:00Z"}'
)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ORDER))]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI application: 201 for a POST, 200 for anything else."""
    posted = scope["method"] == "POST"
    while posted and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 201 if posted else 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ORDER})
