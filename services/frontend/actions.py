"""Operator actions as HTTP handlers. Each is a form that works without scripts."""

import secrets
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, post
from litestar.datastructures import State
from litestar.response import Template

from services.frontend import forms, sessions
from services.frontend.backends import NoResponse, Refused
from services.frontend.dashboard import Dashboard
from services.frontend.forms import Notice, PageRequest
from services.frontend.operator_actions import AuditFailed, ChaosForm, OperatorActions, OrderResult
from services.frontend.sign_in import sign_in_required
from services.frontend.wire import Audit

ItemId = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, pattern=r"^(?!\.\.?$)", description="an item, not . or .."),
]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Key = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,255}$(?!\n)", description="1 to 255 letters, digits and _ . : -"),
]  # a $ alone would allow a final line break


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
    """Place an order, or send one again with the same key."""
    form = await forms.read(request, OrderForm)
    actions: OperatorActions = state.operator_actions
    result = await actions.place(form.item_id, form.quantity, form.key or f"dashboard-{secrets.token_hex(6)}")
    forms.store_order_result(request, result)
    await _refresh(state)
    if forms.wants_json(request):
        return Template(
            template_name="placed.html", context={"placed": result, "form_token": sessions.get(request).form_token}
        )
    return forms.respond(request, _order_notice(result), "orders")


@post("/restock", status_code=200)
async def restock(request: PageRequest, state: State) -> Response[Any]:
    """Add to the stock of an item."""
    form = await forms.read(request, RestockForm)
    actions: OperatorActions = state.operator_actions
    action = actions.restock(form.item_id, form.quantity)
    return await _perform(request, state, action, f"{form.quantity} more of {form.item_id}.", "stock")


@post("/chaos", status_code=200)
async def enable_chaos(request: PageRequest, state: State) -> Response[Any]:
    """Turn gremlins on."""
    form = await forms.read(request, ChaosForm)
    actions: OperatorActions = state.operator_actions
    message = "Gremlins are on; they expire automatically."
    return await _perform(request, state, actions.enable_chaos(form), message, "chaos")


@post("/chaos/calm", status_code=200)
async def disable_chaos(request: PageRequest, state: State) -> Response[Any]:
    """Turn gremlins off."""
    actions: OperatorActions = state.operator_actions
    return await _perform(request, state, actions.disable_chaos(), "All gremlins are off.", "chaos")


@post("/chaos/halt", status_code=200)
async def halt_chaos(request: PageRequest, state: State) -> Response[Any]:
    """Turn gremlins off and refuse new ones, or allow them again."""
    form = await forms.read(request, HaltForm)
    actions: OperatorActions = state.operator_actions
    message = "Gremlins are off, and new ones are refused." if form.halted else "Gremlins are allowed again."
    return await _perform(request, state, actions.halt_chaos(halted=form.halted), message, "chaos")


@post("/breaker", status_code=200)
async def force_breaker(request: PageRequest, state: State) -> Response[Any]:
    """Force all breakers open or closed, or return them to automatic operation."""
    form = await forms.read(request, BreakerForm)
    actions: OperatorActions = state.operator_actions
    message = "Breakers are automatic." if form.state == "auto" else f"All breakers are forced {form.state}."
    return await _perform(request, state, actions.force_breaker(form.state), message, "breaker")


@post("/requeue", status_code=200)
async def requeue(request: PageRequest, state: State) -> Response[Any]:
    """Reset the attempts of all dead orders."""
    actions: OperatorActions = state.operator_actions
    return await _perform(request, state, actions.requeue(), "Dead orders are queued again.", "queue")


@post("/audit", status_code=200)
async def audit(request: PageRequest, state: State) -> Response[Any]:
    """Run the audit."""
    dashboard: Dashboard = state.dashboard
    try:
        notice = _audit_notice(await dashboard.audit())
    except AuditFailed as error:
        notice = Notice("bad", f"The audit failed. {error}")
    return forms.respond(request, notice, "audit")


async def _perform(
    request: PageRequest, state: State, action: Awaitable[object], message: str, panel: str
) -> Response[Any]:
    """Await an action of a service, refresh the page, and respond with a notice."""
    try:
        await action
    except Refused as error:
        return forms.respond(request, Notice("bad", f"{error.problem.title}. {error.problem.detail}"), panel)
    except NoResponse as error:
        return forms.respond(request, Notice("bad", f"Outcome unknown: {error}."), panel)
    await _refresh(state)
    return forms.respond(request, Notice("good", message), panel)


async def _refresh(state: State) -> None:
    dashboard: Dashboard = state.dashboard
    await dashboard.refresh_now()


def _order_notice(result: OrderResult) -> Notice:
    match result:
        case OrderResult(order=order) if order is not None:
            replayed = ": the stored response, no second order" if result.replayed else ""
            return Notice("good", f"{result.quantity} of {result.item_id}: {order.status}{replayed}.")
        case OrderResult(problem=problem) if problem is not None:
            return Notice("bad", f"{problem.title}. {problem.detail}")
        case _:
            return Notice("bad", f"No response: {result.fault}. Send the same key again to find out.")


def _audit_notice(found: Audit) -> Notice:
    if found.verdict == "clean" and found.without_orders:
        return Notice("bad", "Nothing was compared: there are no orders yet.")
    if found.verdict == "clean":
        return Notice("good", "The audit is clean: each key had one effect.")
    wrong = ", ".join(one.name for one in found.invariants if one.verdict == found.verdict)
    return Notice("bad", f"The audit is {found.verdict}: {wrong}.")


routes = Router(
    "/",
    route_handlers=[place_order, restock, enable_chaos, disable_chaos, halt_chaos, force_breaker, requeue, audit],
    guards=[sign_in_required],
    include_in_schema=False,
)
