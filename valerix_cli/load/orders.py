"""Which orders are sent: a function of the seed, and of nothing else. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from random import Random
from typing import Literal

from valerix_cli.clients.sends import Wanted

Mix = Literal["hot", "uniform", "zipf"]
"""The first item only; each as often as any other; the n-th one n-th as often as the first."""

RECENT = 1000  # keys that a repeat is of


def sequence(
    seed: int, items: Sequence[str], mix: Mix, *, quantity: int, repeats: float, prefix: str
) -> Iterator[Wanted]:
    """Orders without end. A share of `repeats`, from 0 to 1, has the key and the body of one of the last before it."""
    dice = Random(seed)  # noqa: S311 - a seed is the point # nosec B311
    shares = list(accumulate(_shares(mix, len(items))))
    recent: deque[Wanted] = deque(maxlen=RECENT)
    for number in count():
        if recent and dice.random() < repeats:
            yield recent[dice.randrange(len(recent))]
            continue
        (item,) = dice.choices(items, cum_weights=shares)
        wanted = Wanted(item, quantity, f"{prefix}{number}")
        if repeats:
            recent.append(wanted)
        yield wanted


def _shares(mix: Mix, items: int) -> list[float]:
    match mix:
        case "hot":
            return [1.0] + [0.0] * (items - 1)
        case "uniform":
            return [1.0] * items
        case "zipf":
            return [1 / rank for rank in range(1, items + 1)]
