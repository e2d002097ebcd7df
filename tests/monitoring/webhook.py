"""A webhook that records the alerts that Alertmanager sends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Webhook:
    """`url` is its address; `received` has each alert with its status, `firing` or `resolved`, in order of arrival."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.received: list[tuple[str, str]] = []

    def alerts_with(self, status: str) -> set[str]:
        """Return the names of the alerts received with this status."""
        return {alert for alert, how in self.received if how == status}


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.received += [(alert["labels"]["alertname"], alert["status"]) for alert in body["alerts"]]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        hook = Webhook(server.server_port)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hook
        finally:
            server.shutdown()
