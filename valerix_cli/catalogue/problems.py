"""The problems a service may answer with, explained, and the error a command ends with because of each."""

from valerix_cli.catalogue.entry import Problem
from valerix_cli.errors import BadUsageError, CliError, DomainError, GuardError, UnreachableError


def _problem(slug: str, error: type[CliError], meaning: str, why: str, do: str) -> Problem:
    return Problem("problem", slug, meaning, why, do, error)


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
        "The body is larger than 64 KiB, or than 1 MiB where it turns gremlins on; it was not read.",
        "one request holds one order, or what gremlins are to do",
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
        "activation-not-found",
        CliError,
        "Nobody remembers gremlins with that id.",
        "they never were, or ended more than a day ago; Redis may have lost them",
        "valerix chaos status",
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
