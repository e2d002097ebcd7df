"""Comparing what two databases say of the same orders, line by line and bucket by bucket. Pure.

A line is `order id, item, quantity`; a bucket holds the sorted lines of all orders whose ids begin alike. Equal buckets
are equal as text, so a million orders are compared in some thousand steps, and only what differs is looked into.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from valerix_cli.audit.model import SHOWN, Example, Found

KEPT = 1000
"""Orders without their deduction that are kept for a repair; the next one takes the next."""


class Bucket(msgspec.Struct, frozen=True):
    """Sorted lines, one per row, and how many different orders they are of."""

    number: int
    rows: int
    orders: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n") if self.text else []


class Tally:
    """Counts what is wrong and keeps the first examples."""

    def __init__(self) -> None:
        self.checked = 0
        self.broken = 0
        self.examples: list[Example] = []

    def add(self, subject: str, wrong: str) -> None:
        self.broken += 1
        if len(self.examples) < SHOWN:
            self.examples.append(Example(subject, wrong))

    @property
    def found(self) -> Found:
        return Found(self.checked, self.broken, self.examples)


class Missing(msgspec.Struct, frozen=True):
    """A confirmed order for which nothing at all is deducted."""

    order_id: str
    item_id: str
    quantity: int


class Comparison:
    """Confirmed orders ⊆ deductions ⊆ orders that have not failed, as three snapshots in this order of time."""

    def __init__(self) -> None:
        self.missing: list[Missing] = []
        self.confirmed = Tally()
        self.deducted = Tally()
        self.ids = Tally()

    def run(self, confirmed: Iterable[Bucket], deducted: Iterable[Bucket], living: Iterable[Bucket]) -> None:
        """Compare three streams of buckets, each sorted by number."""
        for sure, taken, alive in _together(confirmed, deducted, living):
            self.confirmed.checked += sure.rows
            self.deducted.checked += taken.rows
            self.ids.checked += alive.rows
            self._repeated(taken, alive)
            if sure.text != taken.text:
                self._confirmed_but_not_deducted(sure, taken)
            if taken.text != alive.text:
                self._deducted_but_not_ordered(taken, alive)

    def _repeated(self, taken: Bucket, alive: Bucket) -> None:
        if taken.rows != taken.orders:
            for order_id, times in _more_than_once(taken):
                self.confirmed.add(order_id, f"{times} deductions stand in the ledger for it")
        if alive.rows != alive.orders:
            for order_id, times in _more_than_once(alive):
                self.ids.add(order_id, f"{times} orders have this id")

    def _confirmed_but_not_deducted(self, sure: Bucket, taken: Bucket) -> None:
        there = _by_order(taken.lines)
        for line in sorted(set(sure.lines) - set(taken.lines)):
            order_id, item, quantity = _fields(line)
            instead = there.get(order_id)
            if instead is None and len(self.missing) < KEPT and quantity.isdecimal():
                self.missing.append(Missing(order_id, item, int(quantity)))
            found = f"the ledger has {_what(instead)} for it" if instead else "nothing is deducted for it"
            self.confirmed.add(order_id, f"it is confirmed, {quantity} x {item}, and {found}")

    def _deducted_but_not_ordered(self, taken: Bucket, alive: Bucket) -> None:
        there = _by_order(alive.lines)
        for line in sorted(set(taken.lines) - set(alive.lines)):
            order_id, item, quantity = _fields(line)
            instead = there.get(order_id)
            found = f"the order is for {_what(instead)}" if instead else "no order that has not failed has this id"
            self.deducted.add(order_id, f"{quantity} x {item} were deducted, and {found}")


class Refusals:
    """Failed orders ⊆ refusals ⊆ orders that are not confirmed, as three snapshots in this order of time."""

    def __init__(self) -> None:
        self.failed = Tally()
        self.refused = Tally()

    def hold_failed(self, failed: Iterable[Bucket], refused: Iterable[Bucket]) -> None:
        """Each failed order against its refusal, the reason included."""
        for lines, there, instead in _missing(self.failed, failed, refused):
            for order_id, what in lines:
                found = f"it was refused for {instead[order_id]}" if order_id in there else "no refusal stands for it"
                self.failed.add(order_id, f"it has failed, {what}, and {found}")

    def hold_refused(self, refused: Iterable[Bucket], unconfirmed: Iterable[Bucket]) -> None:
        """Each refusal against its order."""
        for lines, there, instead in _missing(self.refused, refused, unconfirmed):
            for order_id, what in lines:
                found = f"the order is for {instead[order_id]}" if order_id in there else "no order that it may be of"
                self.refused.add(order_id, f"{what} was refused, and {found}")


def _missing(
    tally: Tally, part: Iterable[Bucket], whole: Iterable[Bucket]
) -> Iterator[tuple[list[tuple[str, str]], set[str], dict[str, str]]]:
    """Bucket by bucket, what is in `part` only, and what `whole` has of the same orders."""
    for few, many in _together(part, whole):
        tally.checked += few.rows
        known = set(many.lines)
        if lost := sorted(line for line in few.lines if line not in known):
            instead = {order_id: _told(line) for order_id, line in _by_order(many.lines).items()}
            yield [(line.partition("\t")[0], _told(line)) for line in lost], set(instead), instead


def _told(line: str) -> str:
    _, item, quantity, *reason = [*line.split("\t"), "", ""][: max(3, line.count("\t") + 1)]
    return f"{quantity} x {item}{f' ({reason[0]})' if reason else ''}"


def _together(*streams: Iterable[Bucket]) -> Iterator[Sequence[Bucket]]:
    """The buckets of one number from each stream, an empty one where a stream has none."""
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while any(heads):
        least = min(head.number for head in heads if head)
        yield [head if head and head.number == least else Bucket(least, 0, 0, "") for head in heads]
        for place, head in enumerate(heads):
            if head and head.number == least:
                heads[place] = next(iterators[place], None)


def _fields(line: str) -> tuple[str, str, str]:
    """Whatever stands in an item that somebody has written by hand, a line has three fields."""
    order_id, _, rest = line.partition("\t")
    item, _, quantity = rest.rpartition("\t")
    return order_id, item, quantity


def _by_order(lines: Iterable[str]) -> dict[str, str]:
    return {line.partition("\t")[0]: line for line in lines}


def _what(line: str) -> str:
    _, item, quantity = _fields(line)
    return f"{quantity} x {item}"


def _more_than_once(bucket: Bucket) -> list[tuple[str, int]]:
    counts = Counter(line.partition("\t")[0] for line in bucket.lines)
    return sorted((order_id, times) for order_id, times in counts.items() if times > 1)
