"""The output of `-o json` matches its schema."""

from typing import Any

import jsonschema
import msgspec
import pytest

from tests.unit.cli.samples import ORDER_ID, activation, order, sent
from valerix_cli.clients.wire import Chaos, Hit, Hits
from valerix_cli.commands.order_replay import summarize_replay
from valerix_cli.commands.schema import SHAPES
from valerix_cli.order_trace import build_trace
from valerix_cli.output_models import PlacedOrder

EXAMPLES: dict[str, Any] = {
    "order-get": order(),
    "order-list": [order()],
    "order-place": [PlacedOrder.of(sent(order()))],
    "order-replay": summarize_replay("a-key", [sent(order())], mutated=False, deductions=1),
    "order-trace": build_trace(order(), [], None),
    "chaos-hits": Hits("one", [Hit("crash", ORDER_ID, 1)], complete=True),
    "chaos-on": activation(),
    "chaos-status": Chaos(halted=False, live=None, recent=[activation()]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_schema_is_valid(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(msgspec.json.schema(SHAPES[name]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_matches_its_schema(name: str) -> None:
    result = msgspec.json.decode(msgspec.json.encode(EXAMPLES[name]))
    jsonschema.validate(result, msgspec.json.schema(SHAPES[name]), format_checker=jsonschema.FormatChecker())
