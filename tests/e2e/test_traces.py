"""One order is one trace: its context is in every call, in logs, in problem documents and in the order's history."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.e2e.shop import Shop, new_key
from tests.processes import OPERATOR, Processes, eventually


@contextmanager
def ailing_inventory() -> Iterator[tuple[str, list[str]]]:
    """Run an inventory that fails. Yields its URL, and the trace context of each deduction that it received."""
    asked: list[str] = []

    class Ailing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers.get("traceparent", "none"))
            self._answer()

        def _answer(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Ailing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def trace() -> tuple[str, dict[str, str]]:
    """Return the id of a new trace, and the header of a request in it."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


def test_the_worker_continues_the_trace_of_the_queued_request(services: Processes) -> None:
    with ailing_inventory() as (url, asked):
        order, worker = services.order(url), services.worker(url)
        services.start(order, worker)
        trace_id, header = trace()
        placed = services.client.post(
            f"{order.url}/api/orders",
            json={"item_id": "ps5", "quantity": 1},
            headers={"Idempotency-Key": new_key(), **header},
        )
        assert placed.status_code == 202
        eventually(lambda: len(asked) >= 2, 20, "the request's call and the worker's")
        assert {traceparent[3:35] for traceparent in asked} == {trace_id}
        order_id = placed.json()["order_id"]
        history = services.client.get(f"{order.url}/api/orders/{order_id}/events").json()["events"]
        assert history[0]["detail"]["trace_id"] == trace_id


def test_a_problem_document_and_its_log_line_contain_the_trace_id(shop: Shop) -> None:
    trace_id, header = trace()
    refused = shop.client.post(
        f"{shop.order.url}/api/orders", json={}, headers={"Idempotency-Key": new_key(), **header}
    )
    assert refused.status_code == 422
    assert refused.json()["trace_id"] == trace_id
    assert "trace_id" not in shop.client.post(f"{shop.order.url}/api/orders", json={}).json()

    shop.operator.post(f"{shop.inventory.url}/api/admin/chaos", json={"crash_rate": 1.0, "ttl_seconds": 5})
    lines = [json.loads(line) for line in shop.inventory.log.read_text().splitlines()]
    assert not any("trace_id" in line for line in lines)

    def is_logged() -> bool:  # the task that follows gremlins may be the first to see one, and it has no trace
        terms = {"crash_rate": 1.0, "ttl_seconds": 5}
        shop.client.post(f"{shop.inventory.url}/api/admin/chaos", json=terms, headers={**OPERATOR, **header})
        lines = [json.loads(line) for line in shop.inventory.log.read_text().splitlines()]
        return trace_id in {line.get("trace_id") for line in lines}

    eventually(is_logged, what="an activation with the trace's id in the log")
