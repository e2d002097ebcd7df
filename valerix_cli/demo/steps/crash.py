"""A crash in mid-order: an order service is killed with an order in its hands, and the customer sends it again."""

import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

from valerix_cli.clients.http import Replicas
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Order
from valerix_cli.demo.step_context import Missed, StepContext
from valerix_cli.demo.steps.common import confirmed, deducted_once, have_calm, life, see_life

_SLOW = 1500  # milliseconds: long enough to be struck meanwhile, and within what the order service waits
_FOR = 20  # seconds
_PATIENCE = 60  # sends
_WORDS = {"409": "409 in flight", "ConnectError": "unreachable", "ConnectTimeout": "unreachable"}


class Customer:
    """Sends one order, and sends it again with the same key until the outcome is known."""

    def __init__(self, play: StepContext, request: OrderRequest) -> None:
        self._heard: Counter[str] = Counter()
        self._request = request
        self._sent: Future[OrderResponse] = Future()
        context = play.scene.session.context
        replicas = Replicas(context, "order", explain=self._hear)
        self._orders = OrderClient(replicas).recorded(play.scene.writer)
        threading.Thread(target=self._place, name="customer", daemon=True).start()

    def answer(self) -> OrderResponse | None:
        """The final response, if there is one by now."""
        return self._sent.result() if self._sent.done() else None

    @property
    def told(self) -> str:
        """`cut off once, unreachable once, 409 in flight 9 times, 201 once`."""
        return ", ".join(f"{word} {_times(count)}" for word, count in self._heard.items()) or "no response yet"

    def _place(self) -> None:
        try:
            self._sent.set_result(self._orders.place(self._request, retries=_PATIENCE))
        except BaseException as error:  # noqa: BLE001 - raised again where the response is read
            self._sent.set_exception(error)

    def _hear(self, line: str) -> None:
        """`POST http://127.0.0.1:3001/api/orders -> 409 in 3 ms`, or the name of an error instead."""
        said = line.rpartition(" -> ")[2]
        word = said.partition(":")[0].partition(" ")[0]
        self._heard[_WORDS.get(word, word if word.isdecimal() else "cut off")] += 1


def crash(play: StepContext) -> None:
    have_calm(play)
    scene = play.scene
    processes = scene.processes
    assert processes is not None  # noqa: S101 - the step is skipped without # nosec B101
    play.go_on()
    scene.activate(_FOR, latency=True, latency_ms=_SLOW, latency_rate=1.0)
    request = scene.new_order("unlucky")
    customer = Customer(play, request)
    order = play.until(lambda: _in_hand(play, request.key), "an order to be in flight")
    victim = _whose(play, order)
    (process,) = processes.find(victim)
    processes.kill(process)
    scene.session.inventory.deactivate()
    play.see("order", f"{order.order_id}, {order.status}")
    play.know(KEY=request.key, ID=str(order.order_id), PID=str(process.pid))
    play.see("killed", f"{victim}, pid {process.pid}, by SIGKILL, while it held that order")
    sent = play.until(customer.answer, "the customer's retries to be answered", lambda: customer.told)
    play.see("customer", customer.told)
    if sent.order is not None and sent.order.order_id != order.order_id:
        raise Missed(f"the key stands for two orders: {order.order_id} and {sent.order.order_id}")
    settled = confirmed(play, request.key)
    see_life(play, life(play, settled.order_id))
    deducted_once(play, settled)
    play.until(lambda: processes.is_back(process), f"{victim} to be back")
    play.see("in the end", f"1 order, 1 deduction; {victim} is back")


def _in_hand(play: StepContext, key: str) -> Order | None:
    order = play.scene.orders.by_key(key)
    return order if order is not None and order.status == "pending" else None


def _whose(play: StepContext, order: Order) -> str:
    by: Any = play.scene.orders.events(order.order_id).events[0].detail.get("by")
    if not isinstance(by, str):
        raise Missed("the order's history does not say which process has claimed it")
    return by


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
