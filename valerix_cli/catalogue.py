"""What every code means, why one sees it, and what to do: for `valerix explain` and the three lines of an error."""

from dataclasses import dataclass
from typing import Literal

from valerix_cli.errors import BadUsageError, CliError, DomainError, ExitCode, GuardError, UnreachableError

Kind = Literal["exit code", "problem", "order status", "cause", "breaker state", "gremlin"]


@dataclass(frozen=True)
class Entry:
    """One code, explained."""

    kind: Kind
    code: str
    meaning: str
    why: str
    do: str


@dataclass(frozen=True)
class Problem(Entry):
    """A refusal by a service, and the error a command ends with because of it."""

    error: type[CliError] = CliError


def _exit(code: ExitCode, meaning: str, why: str, do: str) -> Entry:
    return Entry("exit code", str(int(code)), meaning, why, do)


def _problem(slug: str, error: type[CliError], meaning: str, why: str, do: str) -> Problem:
    return Problem("problem", slug, meaning, why, do, error)


EXIT_CODES = (
    _exit(ExitCode.DONE, "done, held", "everything went as asked", "nothing"),
    _exit(ExitCode.FAILED, "tried and failed", "a service refused or broke on the way", "read the lines on stderr"),
    _exit(ExitCode.BAD_USAGE, "bad usage or file, nothing touched", "a typing or a file error", "COMMAND --help"),
    _exit(ExitCode.UNREACHABLE, "unreachable, preflight failed", "no replica answers", "valerix status"),
    _exit(
        ExitCode.GUARD,
        "refused by a guard",
        "the deed needs a yes, a token or a permission that was not given",
        "add --yes, or look at `valerix context show`",
    ),
    _exit(
        ExitCode.DOMAIN,
        "refused by the domain",
        "no stock, an item nobody knows, or a key that stands for another order",
        "valerix explain insufficient-stock",
    ),
    _exit(ExitCode.EXPECTATION, "expectation or objective missed", "a drill's figure was off", "read the receipt"),
    _exit(
        ExitCode.INVARIANT,
        "invariant broken",
        "one key had two effects, stock does not add up, or an order was lost",
        "keep the databases as they are and read docs/guarantees.md",
    ),
    _exit(
        ExitCode.INCONCLUSIVE,
        "inconclusive",
        "no steady state, the fault never fired, orders are unsettled, or there are too few samples",
        "run it again for longer",
    ),
    _exit(ExitCode.ROLLBACK, "roll-back not confirmed", "faults may still be live", "valerix chaos off"),
    _exit(ExitCode.REGRESSION, "worse than the baseline", "the figures fell behind an earlier run", "compare the two"),
    _exit(ExitCode.CHANGES_FOUND, "changes found", "`diff --exit-code` saw a difference", "apply it, or leave it"),
    _exit(
        ExitCode.WAITED_TOO_LONG,
        "waited too long",
        "the time limit passed first; what was sent may still have its effect",
        "the same command with the same key, or a longer --timeout",
    ),
    _exit(ExitCode.INTERRUPTED, "interrupted", "Ctrl-C; what was rolled back is confirmed", "nothing"),
    _exit(ExitCode.PIPE_CLOSED, "the reader went away", "stdout was closed, as `head` does", "nothing"),
    _exit(ExitCode.TERMINATED, "terminated", "SIGTERM; what was rolled back is confirmed", "nothing"),
)

PROBLEMS = (
    _problem(
        "insufficient-stock",
        DomainError,
        "There is less in stock than was ordered; nothing was taken.",
        "the item is sold out, or the order is larger than what is left",
        "valerix stock restock ITEM QTY, then order under a new key",
    ),
    _problem(
        "unknown-item",
        DomainError,
        "Nobody sells this item; nothing was taken.",
        "the item id is not in the catalogue",
        "valerix stock list",
    ),
    _problem(
        "idempotency-key-reused",
        DomainError,
        "The key stands for another order already; nothing was changed.",
        "the same key came with another item or quantity",
        "valerix order get ID, or a new key for a new order",
    ),
    _problem(
        "idempotency-key-missing",
        BadUsageError,
        "An order needs an Idempotency-Key; nothing was stored.",
        "without a key a repeat cannot be told from a second order",
        "send the header Idempotency-Key",
    ),
    _problem(
        "idempotency-key-invalid",
        BadUsageError,
        "The key is malformed; nothing was stored.",
        "a key is 1 to 255 characters of A-Z a-z 0-9 _ . : -",
        "another key",
    ),
    _problem(
        "request-in-flight",
        CliError,
        "The same order is being worked on right now.",
        "an earlier send of this key has not been answered yet",
        "the same key again in a second; --retries does that",
    ),
    _problem(
        "invalid-body",
        BadUsageError,
        "The body is not what the endpoint takes; nothing was stored.",
        "a field is missing, unknown, or out of its range",
        "quantities are whole numbers from 1 to 1000",
    ),
    _problem(
        "invalid-request",
        BadUsageError,
        "The request is malformed; nothing was stored.",
        "a parameter is missing, unknown, or not of its type",
        "the command's --help",
    ),
    _problem(
        "invalid-parameter",
        BadUsageError,
        "A parameter in the address is not valid; nothing was done.",
        "a status, a limit or a cursor that is not known",
        "the command's --help",
    ),
    _problem(
        "body-too-large",
        BadUsageError,
        "The body is larger than 64 KiB; it was not read.",
        "one request holds one order",
        "several smaller requests",
    ),
    _problem(
        "unsupported-media-type",
        BadUsageError,
        "The body is not JSON; it was not read.",
        "the header Content-Type says something else",
        "-H 'Content-Type: application/json'",
    ),
    _problem(
        "queue-full",
        CliError,
        "The backlog is at its cap; the order was not taken on.",
        "orders wait for inventory faster than the worker can finish them",
        "the same key again later; valerix queue status",
    ),
    _problem(
        "rate-limited",
        CliError,
        "Too many requests from this client; this one was not read.",
        "the limit per minute is used up",
        "wait as long as Retry-After says, or use an operator's token",
    ),
    _problem(
        "database-unavailable",
        UnreachableError,
        "The service cannot reach its database.",
        "PostgreSQL is down, starting or overloaded",
        "valerix status; the same key again is safe",
    ),
    _problem(
        "unauthorized",
        GuardError,
        "A valid token is needed.",
        "there is no token for this context, or it is not one the service knows",
        "valerix context show",
    ),
    _problem(
        "forbidden",
        GuardError,
        "This token may not do that.",
        "the endpoint wants a token of another level: service or operator",
        "valerix context show",
    ),
    _problem(
        "chaos-halted",
        GuardError,
        "Gremlins are halted; nothing was turned on.",
        "somebody typed `valerix chaos halt`",
        "valerix chaos halt --resume",
    ),
    _problem(
        "chaos-unavailable",
        UnreachableError,
        "The gremlins cannot be reached.",
        "their leases are kept in Redis, and it does not answer; those that were live die with their leases",
        "valerix status",
    ),
    _problem(
        "order-id-reused",
        DomainError,
        "The order was answered before, for another item or quantity; nothing was changed.",
        "whoever deducts sent an order id twice with different bodies: a bug of the caller",
        "valerix order trace ID",
    ),
    _problem("not-found", CliError, "There is nothing at that address.", "a wrong path or id", "check the spelling"),
    _problem(
        "order-not-found",
        CliError,
        "There is no order with that id.",
        "it was placed on another platform, or is no order id",
        "valerix order list",
    ),
    _problem(
        "order-not-dead",
        DomainError,
        "Only a dead order can be requeued; nothing was changed.",
        "the order is finished, or the worker is still at it",
        "valerix order get ID",
    ),
    _problem("item-not-found", CliError, "There is no such item.", "it is not in the catalogue", "valerix stock list"),
    _problem(
        "method-not-allowed",
        BadUsageError,
        "That address does not take this method.",
        "for example a GET where only POST is known",
        "valerix api GET /schema/openapi.json says which it takes",
    ),
    _problem(
        "internal-error",
        CliError,
        "The service broke while it worked on this.",
        "a bug, or a gremlin that answers 500",
        "valerix logs; look for the request id",
    ),
)

STATUSES = (
    Entry(
        "order status",
        "pending",
        "Stored and being worked on.",
        "the order is durable; its deduction is on the way",
        "valerix order trace ID",
    ),
    Entry(
        "order status",
        "queued",
        "The outcome at inventory is not known yet; the worker finds out.",
        "inventory was too slow, broke, or the breaker is open; stock was taken once or not at all",
        "wait: valerix order watch ID",
    ),
    Entry(
        "order status", "confirmed", "Stock was deducted exactly once. Final.", "inventory said yes", "nothing to do"
    ),
    Entry(
        "order status",
        "failed",
        "Refused; no stock was taken. Final.",
        "the reason says which: insufficient-stock or unknown-item",
        "order again under a new key",
    ),
    Entry(
        "order status",
        "dead",
        "All attempts were used up and inventory has no outcome.",
        "inventory was away for longer than the attempts lasted",
        "valerix queue requeue ID",
    ),
)

CAUSES = (
    Entry(
        "cause",
        "timeout",
        "Inventory did not answer in time, so the outcome is not known.",
        "it is slow, overloaded, or a latency gremlin is live",
        "wait: valerix order watch ID",
    ),
    Entry(
        "cause",
        "lost answer",
        "Inventory hung up before it answered, so the outcome is not known.",
        "it died, or a crash or partial-failure gremlin is live",
        "wait: valerix order watch ID",
    ),
    Entry(
        "cause",
        "connection error",
        "Inventory could not be reached.",
        "no replica of it runs",
        "valerix status",
    ),
    Entry(
        "cause",
        "breaker-open",
        "The breaker is open, so nothing was sent.",
        "too many calls failed, or an operator forced it",
        "valerix breaker status",
    ),
    Entry(
        "cause",
        "attempts-exhausted",
        "All attempts were used up and inventory has no outcome.",
        "inventory was away for longer than the attempts lasted",
        "valerix queue requeue ID",
    ),
)

STATES = (
    Entry(
        "breaker state",
        "closed",
        "Calls go to inventory.",
        "fewer calls fail than the threshold allows",
        "nothing",
    ),
    Entry(
        "breaker state",
        "open",
        "Calls are not sent; orders are queued at once.",
        "half of the calls in the window failed, or an operator forced it",
        "valerix breaker status",
    ),
    Entry(
        "breaker state",
        "half-open",
        "One trial call at a time is let through.",
        "the open time is over; one success closes it, one failure opens it again",
        "wait, or valerix breaker history",
    ),
)

GREMLINS = (
    Entry("gremlin", "latency", "Inventory answers late.", "valerix chaos on latency", "valerix chaos off"),
    Entry(
        "gremlin",
        "crash",
        "Inventory answers 500, 503 or hangs up, before any work.",
        "valerix chaos on crash",
        "valerix chaos off",
    ),
    Entry(
        "gremlin",
        "partial-failure",
        "Inventory commits and then answers 500 or not at all: Schrödinger's warehouse.",
        "valerix chaos on partial-failure",
        "valerix chaos off",
    ),
)

ENTRIES: tuple[Entry, ...] = (*EXIT_CODES, *PROBLEMS, *STATUSES, *CAUSES, *STATES, *GREMLINS)
_PROBLEMS_BY_SLUG = {problem.code: problem for problem in PROBLEMS}


def problem(slug: str) -> Problem | None:
    return _PROBLEMS_BY_SLUG.get(slug)


def meaning(code: str) -> str:
    """What a code means, in a sentence."""
    return next((entry.meaning for entry in lookup(code)), "no more is known about it")


def lookup(code: str) -> list[Entry]:
    """Every entry of that code; `urn:valerix:problem:` in front of a slug is passed over."""
    wanted = code.lower().removeprefix("urn:valerix:problem:")
    return [entry for entry in ENTRIES if entry.code == wanted]
