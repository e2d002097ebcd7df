"""Problem documents (RFC 9457) of the services, and the error that each one maps to."""

import re
from http import HTTPStatus
from typing import Any

import msgspec

from valerix_cli import error_reference
from valerix_cli.errors import CliError, DomainError, GuardError
from valerix_cli.quoting import word

_PREFIX = "urn:valerix:problem:"
_IDS = {"order_id", "item_id", "trace_id"}  # ids appear in the hint, where they can be copied, or in the log
_COMMON = {"type", "title", "status", "detail", "instance", "request_id"}


class Problem(msgspec.Struct, frozen=True):
    """One problem: its slug, its facts, and the seconds to wait before a retry."""

    slug: str
    status: int
    title: str
    detail: str
    request_id: str | None
    retry_after: float | None
    facts: dict[str, Any]

    @property
    def order_id(self) -> str | None:
        return self.facts.get("order_id")


def problem_of(status: int, body: bytes, retry_after: str | None) -> Problem:
    """Parse a problem document; any other body becomes a problem named for its status."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        document = {}
    return Problem(
        slug=str(document.get("type", f"status-{status}")).removeprefix(_PREFIX),
        status=status,
        title=str(document.get("title", f"The answer was {status}")),
        detail=str(document.get("detail", "")),
        request_id=document.get("request_id"),
        retry_after=float(retry_after) if retry_after and retry_after.isdecimal() else None,
        facts={name: value for name, value in document.items() if name not in _COMMON},
    )


def error_of(problem: Problem, what: str | None = None, *, path: str = "") -> CliError:
    """Return the error for a problem (of `path`), with its meaning, its facts, and the hint of its catalogue entry."""
    known = error_reference.problem(problem.slug)
    if known is None:
        return CliError(what or problem.title, why_of(problem), "valerix logs; look for the request id")
    if problem.slug == "not-found" and path.startswith("/api/admin/chaos"):
        return GuardError(
            what or "Gremlins are not allowed here.", why_of(problem), "start inventory with VALERIX_CHAOS_ALLOWED=1"
        )
    if problem.slug == "idempotency-key-reused" and path.endswith("/restock"):
        what = what or "The key stands for another delivery already; nothing was added."
        return DomainError(what, why_of(problem), "the same item and quantity with this key, or a new key")
    return known.error(what or known.meaning, why_of(problem), _hint(known.do, problem))


def why_of(problem: Problem) -> str:
    """Return the slug, the detail and the facts: `insufficient-stock: … (requested 500, available 98)`."""
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in problem.facts.items() if name not in _IDS)
    its_log_may_say = problem.request_id and problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    request = f"; request {problem.request_id}" if its_log_may_say else ""
    return f"{problem.slug}: {problem.detail}" + (f" ({facts})" if facts else "") + request


def _hint(do: str, problem: Problem) -> str:
    """Return the hint for this problem, with its ids and the missing quantity filled in."""
    known = {"ID": problem.order_id, "ITEM": problem.facts.get("item_id"), "QTY": _short_by(problem)}
    return re.sub(rf"\b({'|'.join(known)})\b", lambda found: word(known[found[0]] or found[0]), do)


def _short_by(problem: Problem) -> int | None:
    requested, available = problem.facts.get("requested"), problem.facts.get("available")
    return requested - available if isinstance(requested, int) and isinstance(available, int) else None
