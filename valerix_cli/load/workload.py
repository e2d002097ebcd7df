"""Generates the orders of a load as a function of its seed. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from random import Random
from typing import Literal

from valerix_cli.clients.order_models import OrderRequest

Mix = Literal["hot", "uniform", "zipf"]
"""`hot`: the first item only; `uniform`: all equally often; `zipf`: the n-th item 1/n as often as the first."""

REPEAT_WINDOW = 1000
"""A repeat is drawn from this number of latest keys."""


def generate_orders(
    seed: int, items: Sequence[str], mix: Mix, *, quantity: int, repeats: float, prefix: str
) -> Iterator[OrderRequest]:
    """Yield orders without end. A share `repeats`, from 0 to 1, repeats the key and the body of a recent order."""
    random = Random(seed)  # noqa: S311 - reproducible by design # nosec B311
    weights = list(accumulate(_weights(mix, len(items))))
    recent: deque[OrderRequest] = deque(maxlen=REPEAT_WINDOW)
    for number in count():
        if recent and random.random() < repeats:
            yield recent[random.randrange(len(recent))]
            continue
        (item,) = random.choices(items, cum_weights=weights)
        order = OrderRequest(item, quantity, f"{prefix}{number}")
        if repeats:
            recent.append(order)
        yield order


def _weights(mix: Mix, items: int) -> list[float]:
    match mix:
        case "hot":
            return [1.0] + [0.0] * (items - 1)
        case "uniform":
            return [1.0] * items
        case "zipf":
            return [1 / rank for rank in range(1, items + 1)]
