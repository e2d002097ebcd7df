"""Orders as typed and as read from a file."""

import pytest

from valerix_cli.clients import order_input as baskets
from valerix_cli.errors import BadUsageError, ExitCode


def test_an_item_without_a_quantity_has_quantity_1() -> None:
    [wanted] = baskets.typed(["ps5"], "a-key")
    assert (wanted.item_id, wanted.quantity, wanted.key) == ("ps5", 1, "a-key")


def test_several_items_are_several_orders_with_their_own_keys() -> None:
    assert len({wanted.key for wanted in baskets.typed(["ps5:2", "xbox", "ps5:2"], None)}) == 3


def test_one_key_for_several_items_is_numbered_repeatably() -> None:
    keys = [wanted.key for wanted in baskets.typed(["ps5", "xbox"], "a-key")]
    assert keys == ["a-key-1", "a-key-2"]
    assert keys == [wanted.key for wanted in baskets.typed(["ps5", "xbox"], "a-key")]


def test_a_file_holds_json_and_shorthand_and_comments() -> None:
    lines = ["# morning", "", '{"item_id": "ps5", "quantity": 3, "idempotency_key": "mine"}', " xbox:2 "]
    first, second = baskets.read(lines, "orders.txt", None)
    assert (first.item_id, first.quantity, first.key) == ("ps5", 3, "mine")
    assert (second.item_id, second.quantity) == ("xbox", 2)


@pytest.mark.parametrize(
    "line",
    [
        "ps5:0",
        "ps5:1001",
        "ps5:-1",
        "ps5:1.5",
        "ps5:",
        ":2",
        "ps5 2",
        '{"item_id": "ps5", "size": 1}',
        "{",
        '{"quantity": 1}',
    ],
)
def test_an_invalid_line_is_refused_with_its_number_before_anything_is_sent(line: str) -> None:
    with pytest.raises(BadUsageError) as refused:
        baskets.read(["xbox:1", line], "orders.txt", None)
    assert "line 2 of orders.txt" in refused.value.what
    assert refused.value.code is ExitCode.BAD_USAGE


@pytest.mark.parametrize(("typed", "hint"), [("ps5:0", "write ITEM"), ("ps5:1001", "split it into several orders")])
def test_only_a_too_large_quantity_gets_a_hint_to_split(typed: str, hint: str) -> None:
    with pytest.raises(BadUsageError) as refused:
        baskets.typed([typed], None)
    assert refused.value.hint.startswith(hint)
