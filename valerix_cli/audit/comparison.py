"""Compares what two databases store about the same orders, line by line and bucket by bucket. Pure.

A line is `order id, item, quantity`, separated by tabs. A bucket holds the sorted lines of all orders whose ids have
the same first 12 bits. Equal buckets have equal text, so a million orders take 4,096 comparisons, and lines are
compared only in buckets that differ.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from valerix_cli.audit.model import MAX_EXAMPLES, Example, Finding

MAX_MISSING = 1000
"""Missing deductions kept for one repair; a second repair finds the rest."""


class Bucket(msgspec.Struct, frozen=True):
    """Sorted lines, one per row, and the number of distinct orders among them."""

    number: int
    rows: int
    orders: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n") if self.text else []


class FindingBuilder:
    """Counts violations and keeps the first examples."""

    def __init__(self) -> None:
        self.checked = 0
        self.broken = 0
        self.examples: list[Example] = []

    def add(self, subject: str, wrong: str) -> None:
        self.broken += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Example(subject, wrong))

    @property
    def finding(self) -> Finding:
        return Finding(self.checked, self.broken, self.examples)


class MissingDeduction(msgspec.Struct, frozen=True):
    """A confirmed order without any deduction."""

    order_id: str
    item_id: str
    quantity: int


class Comparison:
    """Checks confirmed orders ⊆ deductions ⊆ non-failed orders, from three snapshots in this order of time."""

    def __init__(self) -> None:
        self.missing: list[MissingDeduction] = []
        self.confirmed = FindingBuilder()
        self.deducted = FindingBuilder()
        self.ids = FindingBuilder()

    def run(self, confirmed: Iterable[Bucket], deducted: Iterable[Bucket], non_failed: Iterable[Bucket]) -> None:
        """Compare three streams of buckets, each sorted by number."""
        for confirmed_orders, deductions, orders in _zip_buckets(confirmed, deducted, non_failed):
            self.confirmed.checked += confirmed_orders.rows
            self.deducted.checked += deductions.rows
            self.ids.checked += orders.rows
            self._find_duplicates(deductions, orders)
            if confirmed_orders.text != deductions.text:
                self._confirmed_but_not_deducted(confirmed_orders, deductions)
            if deductions.text != orders.text:
                self._deducted_but_not_ordered(deductions, orders)

    def _find_duplicates(self, deductions: Bucket, orders: Bucket) -> None:
        if deductions.rows != deductions.orders:
            for order_id, count in _duplicates(deductions):
                self.confirmed.add(order_id, f"the ledger has {count} deductions for it")
        if orders.rows != orders.orders:
            for order_id, count in _duplicates(orders):
                self.ids.add(order_id, f"{count} orders have this id")

    def _confirmed_but_not_deducted(self, confirmed: Bucket, deductions: Bucket) -> None:
        deducted = _by_order_id(deductions.lines)
        for line in sorted(set(confirmed.lines) - set(deductions.lines)):
            order_id, item, quantity = _parse_line(line)
            other = deducted.get(order_id)
            if other is None and len(self.missing) < MAX_MISSING and quantity.isdecimal():
                self.missing.append(MissingDeduction(order_id, item, int(quantity)))
            found = f"the ledger has {_format_body(other)} for it" if other else "nothing is deducted for it"
            self.confirmed.add(order_id, f"it is confirmed, {quantity} x {item}, and {found}")

    def _deducted_but_not_ordered(self, deductions: Bucket, orders: Bucket) -> None:
        ordered = _by_order_id(orders.lines)
        for line in sorted(set(deductions.lines) - set(orders.lines)):
            order_id, item, quantity = _parse_line(line)
            other = ordered.get(order_id)
            found = f"the order is for {_format_body(other)}" if other else "no order that has not failed has this id"
            self.deducted.add(order_id, f"{quantity} x {item} were deducted, and {found}")


class RefusalComparison:
    """Checks failed orders ⊆ refusals ⊆ unconfirmed orders, from three snapshots in this order of time."""

    def __init__(self) -> None:
        self.failed = FindingBuilder()
        self.refused = FindingBuilder()

    def compare_failed(self, failed: Iterable[Bucket], refused: Iterable[Bucket]) -> None:
        """Compare each failed order with its refusal, including the reason."""
        for lines, others in _unmatched(self.failed, failed, refused):
            for order_id, body in lines:
                found = f"it was refused for {others[order_id]}" if order_id in others else "it has no refusal"
                self.failed.add(order_id, f"it has failed, {body}, and {found}")

    def compare_refused(self, refused: Iterable[Bucket], unconfirmed: Iterable[Bucket]) -> None:
        """Compare each refusal with its order."""
        for lines, others in _unmatched(self.refused, refused, unconfirmed):
            for order_id, body in lines:
                found = (
                    f"the order is for {others[order_id]}" if order_id in others else "no unconfirmed order has its id"
                )
                self.refused.add(order_id, f"{body} was refused, and {found}")


def _unmatched(
    builder: FindingBuilder, subset: Iterable[Bucket], superset: Iterable[Bucket]
) -> Iterator[tuple[list[tuple[str, str]], dict[str, str]]]:
    """Yield, for each bucket that differs, the lines only in `subset`, and by order id the lines of `superset`."""
    for part, whole in _zip_buckets(subset, superset):
        builder.checked += part.rows
        known = set(whole.lines)
        if lost := sorted(line for line in part.lines if line not in known):
            others = {order_id: _format_line(line) for order_id, line in _by_order_id(whole.lines).items()}
            yield [(line.partition("\t")[0], _format_line(line)) for line in lost], others


def _format_line(line: str) -> str:
    _, item, quantity, *reason = [*line.split("\t"), "", ""][: max(3, line.count("\t") + 1)]
    return f"{quantity} x {item}{f' ({reason[0]})' if reason else ''}"


def _zip_buckets(*streams: Iterable[Bucket]) -> Iterator[Sequence[Bucket]]:
    """Yield the buckets with the same number from each stream; an empty bucket if a stream has none."""
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while any(heads):
        least = min(head.number for head in heads if head)
        yield [head if head and head.number == least else Bucket(least, 0, 0, "") for head in heads]
        for place, head in enumerate(heads):
            if head and head.number == least:
                heads[place] = next(iterators[place], None)


def _parse_line(line: str) -> tuple[str, str, str]:
    """Return the order id, item and quantity. An item edited by hand may contain tabs."""
    order_id, _, rest = line.partition("\t")
    item, _, quantity = rest.rpartition("\t")
    return order_id, item, quantity


def _by_order_id(lines: Iterable[str]) -> dict[str, str]:
    return {line.partition("\t")[0]: line for line in lines}


def _format_body(line: str) -> str:
    _, item, quantity = _parse_line(line)
    return f"{quantity} x {item}"


def _duplicates(bucket: Bucket) -> list[tuple[str, int]]:
    """Return the order ids with more than one line, and the number of their lines."""
    counts = Counter(line.partition("\t")[0] for line in bucket.lines)
    return sorted((order_id, count) for order_id, count in counts.items() if count > 1)
