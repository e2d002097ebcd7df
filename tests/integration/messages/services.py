"""The four services, and for each a request that has an effect."""

import itertools
import uuid
from dataclasses import dataclass

from tests.processes import SERVICE_TOKEN, Service

ROLES = ("order", "inventory", "worker", "frontend")
_ids = itertools.count(1)


def new_id() -> bytes:
    return b"message-%d" % next(_ids)


@dataclass(frozen=True)
class Role:
    """A service and a request to it: a POST of `body` to `target`, whose response has `status`."""

    service: Service
    target: bytes
    fields: bytes
    body: bytes
    status: int

    @property
    def port(self) -> int:
        return self.service.port

    def get(self, request_id: bytes) -> bytes:
        return self.head(request_id, b"GET", b"/health/live") + b"\r\n"

    def post(self, request_id: bytes, framing: bytes, body: bytes | None = None) -> bytes:
        """Return the request that has an effect, with `framing` as its framing headers and `body` as its raw body."""
        return self.head(request_id, b"POST", self.target) + self.fields + framing + b"\r\n" + (body or b"")

    def head(self, request_id: bytes, method: bytes, target: bytes) -> bytes:
        return b"%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Request-ID: %s\r\nIdempotency-Key: %s\r\n" % (
            method,
            target,
            self.port,
            request_id,
            request_id,
        )


JSON = b"Content-Type: application/json\r\n"


def role(name: str, service: Service, item: str) -> Role:
    if name == "order":
        return Role(service, b"/api/orders", JSON, b'{"item_id":"%s","quantity":1}' % item.encode(), 201)
    if name == "inventory":
        fields = JSON + b"Authorization: Bearer %s\r\n" % SERVICE_TOKEN.encode()
        body = b'{"order_id":"%s","item_id":"%s","quantity":1,"attempt":1}' % (
            str(uuid.uuid4()).encode(),
            item.encode(),
        )
        return Role(service, b"/api/inventory/deduct", fields, body, 200)
    return Role(service, b"/health/live", JSON, b"{}", 405)
