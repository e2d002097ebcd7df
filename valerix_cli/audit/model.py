"""What an audit finds, as values."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

Verdict = Literal["held", "violated", "unsettled", "not-checked"]

SHOWN = 10
"""Examples that a finding shows; the rest is only counted."""


class Example(msgspec.Struct, frozen=True):
    """One thing that is not as it must be: an order, an item or a key by its `subject`, and what is wrong with it."""

    subject: str
    wrong: str


class Invariant(msgspec.Struct, frozen=True):
    """One rule: how many things it was `checked` on (`of` what), how many break it, and the first of those."""

    name: str
    rule: str
    verdict: Verdict
    checked: int
    of: str
    broken: int
    examples: list[Example]


class Compared(msgspec.Struct, frozen=True):
    """How much was read."""

    orders: dict[str, int]
    events: int
    deductions: int
    refusals: int
    items: int
    ledger_lines: int
    journal_keys: int | None

    @property
    def is_without_orders(self) -> bool:
        """Whether neither database has anything of an order, and no journal does."""
        return not (any(self.orders.values()) or self.events or self.deductions or self.refusals or self.journal_keys)


class Audit(msgspec.Struct, frozen=True):
    """The whole of it. `violated` outweighs `unsettled`, which outweighs `clean`.

    `without_orders`: there was no order to compare, so `clean` says nothing of any. `repaired` says what was driven
    again before.
    """

    verdict: Literal["clean", "violated", "unsettled"]
    at: datetime
    seconds: float
    settle_limit_seconds: float
    compared: Compared
    invariants: list[Invariant]
    not_checked: list[str]
    repaired: list[str] = []
    without_orders: bool = False


class Found(msgspec.Struct, frozen=True):
    """What a check returns: how many it looked at, how many are wrong, and the first of those."""

    checked: int
    broken: int = 0
    examples: Sequence[Example] = ()

    def plus(self, other: "Found") -> "Found":
        """Both as one, of the same things looked at twice."""
        examples = [*self.examples, *other.examples][:SHOWN]
        return Found(max(self.checked, other.checked), self.broken + other.broken, examples)


class Rule(msgspec.Struct, frozen=True):
    """The name of an invariant, what it says, what it is about, and what breaking it means."""

    name: str
    says: str
    about: str
    when_broken: Verdict = "violated"

    def judge(self, found: Found) -> Invariant:
        verdict = self.when_broken if found.broken else "held"
        return Invariant(
            self.name, self.says, verdict, found.checked, self.about, found.broken, list(found.examples)[:SHOWN]
        )

    def unchecked(self) -> Invariant:
        return Invariant(self.name, self.says, "not-checked", 0, self.about, 0, [])


ONE_ORDER_PER_KEY = Rule("one-order-per-key", "A key stands for one order.", "orders")
NO_OVERSELL = Rule("no-oversell", "No item has less than nothing.", "items")
STOCK_CONSERVED = Rule("stock-conserved", "An item's quantity is the sum of its ledger lines.", "items")
CONFIRMED_MEANS_DEDUCTED = Rule(
    "confirmed-means-deducted", "A confirmed order has exactly one deduction, of its item and quantity.", "orders"
)
DEDUCTED_MEANS_ORDERED = Rule("deducted-means-ordered", "A deduction has an order, which has not failed.", "deductions")
ONE_OUTCOME_PER_ORDER = Rule("one-outcome-per-order", "No order is both refused and deducted.", "refusals")
FAILED_MEANS_REFUSED = Rule(
    "failed-means-refused", "A failed order has a refusal, of its item and quantity, for its reason.", "orders"
)
REFUSED_MEANS_ORDERED = Rule(
    "refused-means-ordered", "A refusal has an order, of its item and quantity, that is not confirmed.", "refusals"
)
FINGERPRINTS_FIT = Rule("fingerprints-fit", "An order's fingerprint is that of its item and quantity.", "orders")
LEDGER_IN_ORDER = Rule("ledger-in-order", "An item begins with one seed, and each restock has a key.", "ledger lines")
TERMINAL_STAYS = Rule(
    "terminal-stays", "A final status is left only by requeueing, and an order's history has no gap.", "steps"
)
LEASES_KEPT = Rule(
    "leases-kept",
    "An order is claimed only while no process holds it, and settled only by the process that holds it.",
    "claims",
)
SETTLED = Rule("settled", "No order is left unfinished for longer than the settling limit.", "orders", "unsettled")
ACKNOWLEDGED_NOT_LOST = Rule(
    "acknowledged-not-lost", "Every response in the journal matches the databases, and every order was sent.", "keys"
)
CACHE_AGREES = Rule("cache-agrees", "An order that Redis answers a repeat with is as its row says.", "cached answers")


def conclude(invariants: Sequence[Invariant]) -> Literal["clean", "violated", "unsettled"]:
    """The worst counts."""
    verdicts = {invariant.verdict for invariant in invariants}
    if "violated" in verdicts:
        return "violated"
    return "unsettled" if "unsettled" in verdicts else "clean"
