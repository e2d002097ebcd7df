"""Views of the stock."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Item, Restocked
from valerix_cli.output_models import StockChange
from valerix_cli.views.tables import clock, facts, table


def stock_table(items: list[Item]) -> RenderableType:
    if not items:
        return Text("No items.")
    return table(
        "item",
        "name",
        "left",
        "changed",
        rows=[
            [
                item.item_id,
                item.item_name,
                Text(str(item.quantity), style="" if item.quantity else "red"),
                clock(item.updated_at),
            ]
            for item in items
        ],
        right=("left",),
    )


def restocked_view(restocked: Restocked) -> RenderableType:
    done = "added before, under this key" if restocked.repeated else "added"
    return facts([("item", restocked.item_id), (done, str(restocked.added)), ("left now", str(restocked.quantity))])


def stock_line(change: StockChange) -> str:
    """Return a change of one item's stock in one line."""
    by = "" if change.change is None else f" ({change.change:+d})"
    return f"{clock(change.at)}  {change.item_id}  {change.quantity}{by}"
