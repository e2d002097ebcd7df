"""The result of an audit as values, and the invariants that it checks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

Verdict = Literal["held", "violated", "unsettled", "not-checked"]

MAX_EXAMPLES = 10
"""Examples kept per finding; further violations are only counted."""


class Example(msgspec.Struct, frozen=True):
    """One violation: `subject` is an order id, an item id or a key; `wrong` describes the violation."""

    subject: str
    wrong: str


class Invariant(msgspec.Struct, frozen=True):
    """The result for one rule: the number of things `checked` (of kind `of`), the number `broken`, and examples."""

    name: str
    rule: str
    verdict: Verdict
    checked: int
    of: str
    broken: int
    examples: list[Example]


class Coverage(msgspec.Struct, frozen=True):
    """The number of rows read, by kind."""

    orders: dict[str, int]
    events: int
    deductions: int
    refusals: int
    items: int
    ledger_lines: int
    journal_keys: int | None

    @property
    def is_without_orders(self) -> bool:
        """True if neither the databases nor the journal contain any trace of an order."""
        return not (any(self.orders.values()) or self.events or self.deductions or self.refusals or self.journal_keys)


class Audit(msgspec.Struct, frozen=True):
    """The result of an audit. `violated` outweighs `unsettled`, which outweighs `clean`.

    `without_orders` is true if there was no order to compare, so that `clean` proves nothing. `repaired` lists what a
    repair before the audit retried.
    """

    verdict: Literal["clean", "violated", "unsettled"]
    at: datetime
    seconds: float
    settle_limit_seconds: float
    compared: Coverage
    invariants: list[Invariant]
    not_checked: list[str]
    repaired: list[str] = []
    without_orders: bool = False


class Finding(msgspec.Struct, frozen=True):
    """The result of one query or comparison: the number checked, the number of violations, and examples."""

    checked: int
    broken: int = 0
    examples: Sequence[Example] = ()

    def merge(self, other: "Finding") -> "Finding":
        """Combine two results of the same kind."""
        examples = [*self.examples, *other.examples][:MAX_EXAMPLES]
        return Finding(max(self.checked, other.checked), self.broken + other.broken, examples)


class Rule(msgspec.Struct, frozen=True):
    """An invariant: its name, its statement, the kind of thing that it is checked on, and the verdict if broken."""

    name: str
    statement: str
    subject: str
    when_broken: Verdict = "violated"

    def evaluate(self, found: Finding) -> Invariant:
        verdict = self.when_broken if found.broken else "held"
        return Invariant(
            self.name,
            self.statement,
            verdict,
            found.checked,
            self.subject,
            found.broken,
            list(found.examples)[:MAX_EXAMPLES],
        )

    def unchecked(self) -> Invariant:
        return Invariant(self.name, self.statement, "not-checked", 0, self.subject, 0, [])


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
    """Return the worst verdict."""
    verdicts = {invariant.verdict for invariant in invariants}
    if "violated" in verdicts:
        return "violated"
    return "unsettled" if "unsettled" in verdicts else "clean"
