"""Orders for gremlins to hit, and the faults that a seed selects for them."""

import uuid
from typing import Any

import msgspec

from services.inventory import gremlins
from services.inventory.gremlins import GREMLINS, Activation
from tests.integration.inventory.service import Fate, Line, line
from tests.processes import SERVICE

JSON = SERVICE | {"Content-Type": "application/json"}
NAMES = uuid.UUID(int=7)


def lines_of(story: str, item: str, count: int) -> list[Line]:
    """Return lines with the same order ids in every run of that story."""
    return [line(item, order_id=str(uuid.uuid5(NAMES, f"{story}-{number}"))) for number in range(count)]


def fresh_lines(item: str, count: int) -> list[Line]:
    return [line(item) for _ in range(count)]


def foretell(activation: dict[str, Any], wanted: Line) -> Fate:
    """Return the result of an attempt as predicted from the activation alone."""
    terms = msgspec.convert(activation, Activation)
    order, attempt = uuid.UUID(wanted["order_id"]), wanted["attempt"]
    if gremlins.is_hit(terms, "crash", order, attempt):
        return gremlins.crash(terms, order, attempt).status or "lost"
    if gremlins.is_hit(terms, "partial_failure", order, attempt):
        return gremlins.partial_failure(terms, order, attempt).status or "lost"
    return 200


def is_slow(activation: dict[str, Any], wanted: Line) -> bool:
    terms = msgspec.convert(activation, Activation)
    return gremlins.is_hit(terms, "latency", uuid.UUID(wanted["order_id"]), wanted["attempt"])


def foretell_hits(activation: dict[str, Any], lines: list[Line]) -> list[dict[str, Any]]:
    """Return the predicted hits on these attempts: no other gremlin follows a crash."""
    terms = msgspec.convert(activation, Activation)
    hits = []
    for each in sorted(lines, key=lambda each: (each["order_id"], each["attempt"])):
        attempt = (uuid.UUID(each["order_id"]), each["attempt"])
        met = [gremlin for gremlin in GREMLINS if gremlins.is_hit(terms, gremlin, *attempt)]
        met = ["crash"] if "crash" in met else met
        hits += [{"gremlin": gremlin, "order_id": each["order_id"], "attempt": each["attempt"]} for gremlin in met]
    return hits
