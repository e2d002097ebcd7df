"""What a form brings, and what whoever sent it is told: a page again, or, where a script has sent it, JSON."""

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
from services.frontend.deeds import Sent
from services.frontend.signing import NotSignedIn
from services.frontend.words import visible

T = TypeVar("T")
PageRequest: TypeAlias = Request[Any, Any, State]
Mood = Literal["good", "bad"]

NOTICES = "notices"
SENT = "sent"
MANY = 5  # notices that a session keeps
TOKEN = "_csrf_token"  # noqa: S105 - the field of every form that ties it to its session # nosec B105
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, 9.2.1
FOR_GUESTS = "for_guests"  # the option of a handler that takes a form of who has not signed in


class InvalidForm(Refusal):
    slug, status, title = "invalid-form", 422, "The form is not filled in as it must be"


class StaleForm(Refusal):
    slug, status, title = "stale-form", 403, "This form is not one that this dashboard gave out lately"


class Notice(msgspec.Struct, frozen=True):
    """One sentence about what was done."""

    mood: Mood
    says: str


async def ours_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard for the whole application: refuse what changes something, unless a form of this very session asks for it.

    Raises StaleForm, NotSignedIn where the form is of a session that has ended, or InvalidForm for a field that comes
    twice: of two values, two readers may take different ones.
    """
    request = cast("PageRequest", connection)
    if request.method in SAFE:
        return
    session = sessions.of(request)
    form = await request.form()
    token = form.get(TOKEN)
    if isinstance(token, str) and hmac.compare_digest(_bytes(token), session.form_token.encode()):
        if repeated := sorted(name for name in form if len(form.getall(name)) > 1):
            raise InvalidForm(f"{visible(repeated[0])} is there twice")
        return
    if token is None or session.was_stored or handler.opt.get(FOR_GUESTS):
        raise StaleForm("Load the page again, and repeat it")
    raise NotSignedIn("The session has ended")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


async def read(request: PageRequest, kind: type[T]) -> T:
    """The value that a form stands for; what was left empty counts as not given. Raises InvalidForm."""
    filled = {name: value for name, value in (await request.form()).items() if value not in {"", None}}
    filled.pop(TOKEN, None)
    try:
        return msgspec.convert(filled, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidForm(explain(error, kind, whole="The form")) from None


def by_script(request: PageRequest) -> bool:
    """Whether a script has sent the form, and shows the answer itself."""
    return "application/json" in request.headers.get("accept", "")


def tell(request: PageRequest, notice: Notice, place: str) -> Response[Any]:
    """Tell what was done: at once, or on the page that is shown next, at the panel called `place`."""
    notice = Notice(notice.mood, visible(notice.says))
    if by_script(request):
        return Response(notice, status_code=200 if notice.mood == "good" else 422)
    kept = sessions.of(request).kept
    kept[NOTICES] = [*kept.get(NOTICES, []), msgspec.to_builtins(notice)][-MANY:]
    return Redirect(f"/#{place}", status_code=303)


def remember(request: PageRequest, sent: Sent) -> None:
    """Keep what was sent last, so that it can be sent again."""
    sessions.of(request).kept[SENT] = msgspec.to_builtins(sent, str_keys=True)


def placed(request: PageRequest) -> Sent | None:
    """What was sent last in this session."""
    try:
        return msgspec.convert(sessions.of(request).kept.get(SENT), Sent | None)
    except msgspec.ValidationError:  # of an earlier version
        return None


def notices(request: PageRequest) -> list[Notice]:
    """What is to be told, once."""
    try:
        return msgspec.convert(sessions.of(request).kept.pop(NOTICES, []), list[Notice])
    except msgspec.ValidationError:  # of an earlier version
        return []
