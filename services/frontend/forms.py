"""Parses submitted forms and responds with a redirect, or with JSON for fetch requests."""

import hmac
from typing import Any, Literal, TypeAlias, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from services.common.mistakes import explain
from services.common.refusals import Refusal
from services.frontend import sessions
from services.frontend.filters import visible
from services.frontend.operator_actions import OrderResult
from services.frontend.sign_in import NotSignedIn

T = TypeVar("T")
PageRequest: TypeAlias = Request[Any, Any, State]
NoticeKind = Literal["good", "bad"]

NOTICES = "notices"
ORDER_RESULT = "order_result"
MAX_NOTICES = 5  # per session
TOKEN_FIELD = "_csrf_token"  # noqa: S105 - the name of a form field # nosec B105
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, 9.2.1
FOR_GUESTS = "for_guests"  # handler option: accepts forms without sign-in


class InvalidForm(Refusal):
    slug, status, title = "invalid-form", 422, "Invalid form"


class StaleForm(Refusal):
    slug, status, title = "stale-form", 403, "The form is outdated or from elsewhere"


class Notice(msgspec.Struct, frozen=True):
    """A message about the result of an action."""

    kind: NoticeKind
    message: str


async def form_token_required(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the whole application: require a form token of this session for unsafe methods.

    Raises StaleForm, NotSignedIn if the form's session has ended, or InvalidForm for a repeated field, of which two
    readers could take different values.
    """
    request = cast("PageRequest", connection)
    if request.method in SAFE_METHODS:
        return
    session = sessions.get(request)
    form = await request.form()
    token = form.get(TOKEN_FIELD)
    if isinstance(token, str) and hmac.compare_digest(_bytes(token), session.form_token.encode()):
        if repeated := sorted(name for name in form if len(form.getall(name)) > 1):
            raise InvalidForm(f"{visible(repeated[0])} is given twice")
        return
    if token is None or session.was_stored or handler.opt.get(FOR_GUESTS):
        raise StaleForm("Reload the page and try again")
    raise NotSignedIn("The session has ended")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


async def read(request: PageRequest, kind: type[T]) -> T:
    """Parse a form into `kind`; empty fields count as missing. Raises InvalidForm."""
    filled = {name: value for name, value in (await request.form()).items() if value not in {"", None}}
    filled.pop(TOKEN_FIELD, None)
    try:
        return msgspec.convert(filled, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidForm(explain(error, kind, whole="The form")) from None


def wants_json(request: PageRequest) -> bool:
    """Return whether a script sent the form and expects JSON."""
    return "application/json" in request.headers.get("accept", "")


def respond(request: PageRequest, notice: Notice, panel: str) -> Response[Any]:
    """Respond with the notice as JSON, or redirect to `panel` and show the notice there."""
    notice = Notice(notice.kind, visible(notice.message))
    if wants_json(request):
        return Response(notice, status_code=200 if notice.kind == "good" else 422)
    data = sessions.get(request).data
    data[NOTICES] = [*data.get(NOTICES, []), msgspec.to_builtins(notice)][-MAX_NOTICES:]
    return Redirect(f"/#{panel}", status_code=303)


def store_order_result(request: PageRequest, result: OrderResult) -> None:
    """Store the last order in the session, so that it can be sent again."""
    sessions.get(request).data[ORDER_RESULT] = msgspec.to_builtins(result, str_keys=True)


def last_order_result(request: PageRequest) -> OrderResult | None:
    """Return the last order sent in this session, if any."""
    try:
        return msgspec.convert(sessions.get(request).data.get(ORDER_RESULT), OrderResult | None)
    except msgspec.ValidationError:  # stored by another version
        return None


def pop_notices(request: PageRequest) -> list[Notice]:
    """Return the session's notices and remove them."""
    try:
        return msgspec.convert(sessions.get(request).data.pop(NOTICES, []), list[Notice])
    except msgspec.ValidationError:  # stored by another version
        return []
