"""A crash in mid-order: an order service is killed with an order in flight, and the customer retries."""

import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

from valerix_cli.clients.http import Replicas
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Order
from valerix_cli.demo.step_context import ExpectationMissed, StepContext
from valerix_cli.demo.steps.common import (
    add_trace_facts,
    check_single_deduction,
    trace_steps,
    wait_for_confirmation,
    wait_until_calm,
)

_SLOW = 1500  # milliseconds: long enough for the kill, within the order service's timeout
_FOR = 20  # seconds
_PATIENCE = 60  # sends
_WORDS = {"409": "409 in flight", "ConnectError": "unreachable", "ConnectTimeout": "unreachable"}


class Customer:
    """Sends one order, and retries it with the same key until the outcome is known."""

    def __init__(self, step: StepContext, request: OrderRequest) -> None:
        self._responses: Counter[str] = Counter()
        self._request = request
        self._sent: Future[OrderResponse] = Future()
        platform = step.environment.session.context
        replicas = Replicas(platform, "order", explain=self._record_response)
        self._orders = OrderClient(replicas).recorded(step.environment.writer)
        threading.Thread(target=self._place, name="customer", daemon=True).start()

    def answer(self) -> OrderResponse | None:
        """Return the final response, if there is one."""
        return self._sent.result() if self._sent.done() else None

    @property
    def summary(self) -> str:
        """The responses so far: `cut off once, unreachable once, 409 in flight 9 times, 201 once`."""
        return ", ".join(f"{word} {_times(count)}" for word, count in self._responses.items()) or "no response yet"

    def _place(self) -> None:
        try:
            self._sent.set_result(self._orders.place(self._request, retries=_PATIENCE))
        except BaseException as error:  # noqa: BLE001 - raised again where the response is read
            self._sent.set_exception(error)

    def _record_response(self, line: str) -> None:
        """Count the response in `POST http://127.0.0.1:3001/api/orders -> 409 in 3 ms`, or an error's name."""
        describe_cause = line.rpartition(" -> ")[2]
        word = describe_cause.partition(":")[0].partition(" ")[0]
        self._responses[_WORDS.get(word, word if word.isdecimal() else "cut off")] += 1


def crash(step: StepContext) -> None:
    wait_until_calm(step)
    environment = step.environment
    processes = environment.processes
    assert processes is not None  # noqa: S101 - the step is skipped without # nosec B101
    step.raise_if_cancelled()
    environment.activate(_FOR, latency=True, latency_ms=_SLOW, latency_rate=1.0)
    request = environment.new_order("unlucky")
    customer = Customer(step, request)
    order = step.wait_for(lambda: _in_hand(step, request.key), "an order to be in flight")
    victim = _whose(step, order)
    (process,) = processes.find(victim)
    processes.kill(process)
    environment.session.inventory.deactivate()
    step.add_fact("order", f"{order.order_id}, {order.status}")
    step.set_placeholders(KEY=request.key, ID=str(order.order_id), PID=str(process.pid))
    step.add_fact("killed", f"{victim}, pid {process.pid}, by SIGKILL, while it held that order")
    sent = step.wait_for(customer.answer, "the customer's retries to be answered", lambda: customer.summary)
    step.add_fact("customer", customer.summary)
    if sent.order is not None and sent.order.order_id != order.order_id:
        raise ExpectationMissed(f"the key stands for two orders: {order.order_id} and {sent.order.order_id}")
    settled = wait_for_confirmation(step, request.key)
    add_trace_facts(step, trace_steps(step, settled.order_id))
    check_single_deduction(step, settled)
    step.wait_for(lambda: processes.is_back(process), f"{victim} to be back")
    step.add_fact("in the end", f"1 order, 1 deduction; {victim} is back")


def _in_hand(step: StepContext, key: str) -> Order | None:
    order = step.environment.orders.by_key(key)
    return order if order is not None and order.status == "pending" else None


def _whose(step: StepContext, order: Order) -> str:
    by: Any = step.environment.orders.events(order.order_id).events[0].detail.get("by")
    if not isinstance(by, str):
        raise ExpectationMissed("the order's history does not say which process has claimed it")
    return by


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
