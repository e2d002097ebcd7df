"""The stock, lowest first."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Item
from valerix_cli.top.panels.size import Room
from valerix_cli.views.tables import coloured, table


def draw(items: list[Item], room: Room) -> RenderableType:
    if not items:
        return Text("No items.")
    scarcest_first = sorted(items, key=lambda item: (item.quantity, item.item_id))
    return table(
        "left",
        "item",
        "name",
        rows=[[_left(one.quantity), one.item_id, one.item_name] for one in scarcest_first],
        right=("left",),
        spare=() if room.wide else ("name",),
    )


def _left(quantity: int) -> Text:
    return Text(f"{quantity:,}") if quantity > 0 else coloured("sold out", "failed")
