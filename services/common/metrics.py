"""HTTP metrics of every service, and the /metrics endpoint."""

import functools

from litestar import Response, get
from prometheus_client import REGISTRY, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

request_duration = functools.cache(
    Histogram(
        "http_request_duration_seconds",
        "Time to answer a request, health and metrics aside",
        ["method", "route", "status"],
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ).labels
)
"""The histogram of a method, a route template and a status, cached because a lookup costs more than observing."""

IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being served")


@get("/metrics", include_in_schema=False)
async def get_metrics() -> Response[bytes]:
    return Response(generate_latest(REGISTRY), headers={"content-type": CONTENT_TYPE_LATEST})
