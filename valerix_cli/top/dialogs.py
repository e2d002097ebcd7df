"""The dialogs before actions, and the help."""

from collections.abc import Callable, Sequence
from typing import ClassVar
from uuid import uuid4

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label

from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.clients.order_input import MOST
from valerix_cli.clients.order_models import OrderRequest

_LEAVE: list[BindingType] = [Binding("escape", "dismiss", "Leave")]


class Question(ModalScreen[bool]):
    """A confirmation dialog; Enter alone means no."""

    AUTO_FOCUS = "#no"

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "answer(True)"), Binding("n,escape", "answer(False)")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._text, markup=False)
            with Horizontal():
                yield Button("No (n)", id="no", compact=True)
                yield Button("Yes (y)", id="yes", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:  # noqa: FBT001 - how Textual calls it
        self.dismiss(yes)


class OrderForm(ModalScreen[OrderRequest | None]):
    """A form for item and quantity; it shows the idempotency key, for retries."""

    AUTO_FOCUS = "#item"

    BINDINGS: ClassVar[list[BindingType]] = [*_LEAVE]

    def __init__(self, items: Sequence[str], where: str) -> None:
        super().__init__()
        self._items = items
        self._where = where
        self._key = f"top-{uuid4()}"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(f"Place an order on {self._where}", markup=False)
            yield Label("Item (right arrow completes it)")
            yield Input(
                self._items[0] if self._items else "",
                id="item",
                compact=True,
                suggester=SuggestFromList(self._items, case_sensitive=False),
            )
            yield Label("Quantity")
            yield Input("1", id="quantity", compact=True, type="integer")
            yield Label(f"Key {self._key}", markup=False)
            yield Label("Enter places it, Escape leaves.", id="message", markup=False)

    def on_input_submitted(self) -> None:
        item, quantity = self.query_one("#item", Input).value.strip(), self.query_one("#quantity", Input).value
        if not item:
            self._show_message("Which item?")
        elif not quantity.isdecimal() or not 1 <= int(quantity) <= MOST:
            self._show_message(f"A quantity is a number from 1 to {MOST}.")
        else:
            self.dismiss(OrderRequest(item, int(quantity), self._key))

    def _show_message(self, text: str) -> None:
        self.query_one("#message", Label).update(text)


class GremlinChoice(ModalScreen[Gremlin | None]):
    """A choice of the gremlin to turn on or off, by its first letter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *_LEAVE,
        *(Binding(one[0], f"choose('{one}')") for one in Gremlin),
    ]

    def __init__(self, is_live: Callable[[Gremlin], bool]) -> None:
        super().__init__()
        self._is_live = is_live

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Which gremlin? Escape leaves.")
            for one in Gremlin:
                yield Label(f"{one[0]}  turn {one} {'off' if self._is_live(one) else 'on'}")

    def action_choose(self, name: str) -> None:
        self.dismiss(Gremlin(name))


class Help(ModalScreen[None]):
    """The help: keys, and the meaning of the figures."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "Leave")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._text, markup=False)
