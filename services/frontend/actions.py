"""What an operator does, each by a form that works without scripts."""

import secrets
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, post
from litestar.datastructures import State
from litestar.response import Template

from services.frontend import forms, sessions
from services.frontend.backends import Refused, Unanswered
from services.frontend.board import Board
from services.frontend.deeds import AuditFailed, Deeds, Sent, Wish
from services.frontend.forms import Notice, PageRequest
from services.frontend.signing import signed_in
from services.frontend.wire import Audit

ItemId = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, pattern=r"^(?!\.\.?$)", description="an item, not . or .."),
]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Key = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,255}$(?!\n)", description="1 to 255 letters, digits and _ . : -"),
]  # a lone $ would let a final line break pass


class OrderForm(msgspec.Struct, frozen=True):
    item_id: ItemId
    quantity: Quantity
    key: Key | None = None


class RestockForm(msgspec.Struct, frozen=True):
    item_id: ItemId
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class HaltForm(msgspec.Struct, frozen=True):
    halted: bool


class BreakerForm(msgspec.Struct, frozen=True):
    state: Literal["open", "closed", "auto"]


@post("/orders", status_code=200)
async def place_order(request: PageRequest, state: State) -> Response[Any]:
    """Send an order, or send one again with the same key."""
    wanted = await forms.read(request, OrderForm)
    deeds: Deeds = state.deeds
    sent = await deeds.place(wanted.item_id, wanted.quantity, wanted.key or f"dashboard-{secrets.token_hex(6)}")
    forms.remember(request, sent)
    await _show(state)
    if forms.by_script(request):
        return Template(
            template_name="placed.html", context={"placed": sent, "form_token": sessions.of(request).form_token}
        )
    return forms.tell(request, _of(sent), "orders")


@post("/restock", status_code=200)
async def restock(request: PageRequest, state: State) -> Response[Any]:
    wanted = await forms.read(request, RestockForm)
    deeds: Deeds = state.deeds
    deed = deeds.restock(wanted.item_id, wanted.quantity)
    return await _do(request, state, deed, f"{wanted.quantity} more of {wanted.item_id}.", "stock")


@post("/chaos", status_code=200)
async def unleash(request: PageRequest, state: State) -> Response[Any]:
    wish = await forms.read(request, Wish)
    deeds: Deeds = state.deeds
    return await _do(request, state, deeds.unleash(wish), "Gremlins are loose. They end by themselves.", "chaos")


@post("/chaos/calm", status_code=200)
async def calm(request: PageRequest, state: State) -> Response[Any]:
    deeds: Deeds = state.deeds
    return await _do(request, state, deeds.calm(), "All gremlins are off.", "chaos")


@post("/chaos/halt", status_code=200)
async def halt(request: PageRequest, state: State) -> Response[Any]:
    wanted = await forms.read(request, HaltForm)
    deeds: Deeds = state.deeds
    says = "Gremlins are off, and new ones are refused." if wanted.halted else "Gremlins are allowed again."
    return await _do(request, state, deeds.halt(halted=wanted.halted), says, "chaos")


@post("/breaker", status_code=200)
async def force_breaker(request: PageRequest, state: State) -> Response[Any]:
    wanted = await forms.read(request, BreakerForm)
    deeds: Deeds = state.deeds
    says = "Calls decide again." if wanted.state == "auto" else f"Every breaker is held {wanted.state}."
    return await _do(request, state, deeds.force_breaker(wanted.state), says, "breaker")


@post("/requeue", status_code=200)
async def requeue(request: PageRequest, state: State) -> Response[Any]:
    deeds: Deeds = state.deeds
    return await _do(request, state, deeds.requeue(), "Dead orders are tried again.", "queue")


@post("/audit", status_code=200)
async def audit(request: PageRequest, state: State) -> Response[Any]:
    board: Board = state.board
    try:
        notice = _of_audit(await board.audit())
    except AuditFailed as error:
        notice = Notice("bad", f"There was no audit. {error}")
    return forms.tell(request, notice, "audit")


async def _do(request: PageRequest, state: State, deed: Awaitable[object], says: str, place: str) -> Response[Any]:
    """Have a service do something, show what came of it, and say so."""
    try:
        await deed
    except Refused as error:
        return forms.tell(request, Notice("bad", f"{error.problem.title}. {error.problem.detail}"), place)
    except Unanswered as error:
        return forms.tell(request, Notice("bad", f"Nothing is certain: {error}."), place)
    await _show(state)
    return forms.tell(request, Notice("good", says), place)


async def _show(state: State) -> None:
    board: Board = state.board
    await board.show_at_once()


def _of(sent: Sent) -> Notice:
    match sent:
        case Sent(order=order) if order is not None:
            replayed = ": the stored answer, no second order" if sent.replayed else ""
            return Notice("good", f"{sent.quantity} of {sent.item_id}: {order.status}{replayed}.")
        case Sent(problem=problem) if problem is not None:
            return Notice("bad", f"{problem.title}. {problem.detail}")
        case _:
            return Notice("bad", f"No answer came: {sent.fault}. The same key finds out.")


def _of_audit(found: Audit) -> Notice:
    if found.verdict == "clean" and found.without_orders:
        return Notice("bad", "Nothing was compared: there are no orders yet.")
    if found.verdict == "clean":
        return Notice("good", "The audit is clean: each key had one effect.")
    wrong = ", ".join(one.name for one in found.invariants if one.verdict == found.verdict)
    return Notice("bad", f"The audit is {found.verdict}: {wrong}.")


routes = Router(
    "/",
    route_handlers=[place_order, restock, unleash, calm, halt, force_breaker, requeue, audit],
    guards=[signed_in],
    include_in_schema=False,
)
