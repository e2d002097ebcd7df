"""A real platform sends its spans to a real collector: one order is one trace, across the queue as well."""

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.monitoring.collector import Collector, Received, collector
from tests.platform.installation import Installation, installed
from tests.processes import eventually

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("rotel") is None, reason="the collector is not installed: nox -s monitoring has it"),
]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Collector]]:
    with ExitStack() as stack:
        log: Path = tmp_path_factory.mktemp("collector") / "log"
        found = stack.enter_context(collector(log))
        shop = stack.enter_context(installed(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": found.url}))
        shop.up("--free-ports")
        yield shop, found


def names(spans: list[Received]) -> set[str]:
    return {span.name for span in spans}


def roots(spans: list[Received]) -> list[Received]:
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id not in known]


def callers(spans: list[Received]) -> set[str]:
    """Return the names of the requests and attempts whose calls inventory has answered."""
    by_id = {span.span_id: span for span in spans}
    calls = [by_id.get(span.parent_id) for span in spans if span.name == "POST /api/inventory/deductions"]
    return {by_id[call.parent_id].name for call in calls if call is not None and call.parent_id in by_id}


def test_a_queued_order_is_one_trace_with_its_request_and_the_later_worker_attempt(
    traced: tuple[Installation, Collector],
) -> None:
    shop, spans = traced
    shop.json("chaos", "on", "partial-failure", "--ttl", "60s", "--seed", "42")
    [placed] = shop.json("order", "place", "monitor", "--key", "queued-1")
    assert placed["http_status"] == 202
    shop.json("chaos", "off")
    shop.run("order", "watch", placed["order_id"])
    trace_id = shop.json("order", "trace", placed["order_id"])["trace_id"]

    def whole() -> list[Received]:
        """Return the trace once it is complete: processes export every five seconds, and in any order."""
        found = spans.of(trace_id)
        settled = any(span.name == "batch settle" and span.service == "valerix-worker" for span in found)
        numbers = [int(span.name.split()[1]) for span in found if span.name.startswith("attempt ")]
        wanted = {"POST /api/orders", f"attempt {max(numbers, default=0)}"}
        return found if settled and callers(found) >= wanted and len(roots(found)) == 1 else []

    tree = eventually(whole, 30, "every process has sent its spans, and inventory was called by the request and later")
    request = next(span for span in tree if span.name == "POST /api/orders")
    attempts = [span for span in tree if span.name.startswith("attempt ")]
    assert request.service == "valerix-order"
    assert request.facts["http.response.status_code"] == "202"
    assert {span.service for span in attempts} == {"valerix-worker"}
    assert {span.parent_id for span in attempts} == {request.span_id}, "the worker goes on where the request ended"
    [root] = roots(tree)
    assert (root.service, root.name) == ("valerix-cli", "order place"), "all of it hangs together"
    assert request.parent_id == root.span_id
    assert {"batch accept", "batch settle", "deduct"} <= names(tree)


def test_a_batch_is_linked_to_every_order_in_it(traced: tuple[Installation, Collector]) -> None:
    shop, spans = traced
    shop.json("load", "--clients", "16", "--for", "2s", "--item", "keyboard")
    linked = eventually(lambda: [span for span in spans.spans if span.name == "batch accept" and span.links], 30)
    assert all(int(span.facts["valerix.batch_size"]) == len(span.links) + 1 for span in linked)
