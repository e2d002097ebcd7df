"""What a form brings, and what whoever sent it is told: a page again, or, where a script has sent it, JSON."""

from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.response import Redirect

from services.common.refusals import Refusal
from services.frontend.deeds import Sent

T = TypeVar("T")
PageRequest: TypeAlias = Request[Any, Any, State]
Mood = Literal["good", "bad"]

NOTICES = "notices"
SENT = "sent"
MANY = 5  # notices that a session keeps


class InvalidForm(Refusal):
    slug, status, title = "invalid-form", 422, "The form is not filled in as it must be"


class StaleForm(Refusal):
    slug, status, title = "stale-form", 403, "This form is not one that this dashboard gave out lately"


class Notice(msgspec.Struct, frozen=True):
    """One sentence about what was done."""

    mood: Mood
    says: str


async def read(request: PageRequest, kind: type[T]) -> T:
    """The value that a form stands for; what was left empty counts as not given. Raises InvalidForm."""
    filled = {name: value for name, value in (await request.form()).items() if value not in {"", None}}
    filled.pop("_csrf_token", None)
    try:
        return msgspec.convert(filled, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidForm(str(error)) from None


def by_script(request: PageRequest) -> bool:
    """Whether a script has sent the form, and shows the answer itself."""
    return "application/json" in request.headers.get("accept", "")


def tell(request: PageRequest, notice: Notice, place: str) -> Response[Any]:
    """Tell what was done: at once, or on the page that is shown next, at the panel called `place`."""
    if by_script(request):
        return Response(notice, status_code=200 if notice.mood == "good" else 422)
    request.session[NOTICES] = [*request.session.get(NOTICES, []), msgspec.to_builtins(notice)][-MANY:]
    return Redirect(f"/#{place}", status_code=303)


def remember(request: PageRequest, sent: Sent) -> None:
    """Keep what was sent last, so that it can be sent again."""
    request.session[SENT] = msgspec.to_builtins(sent, str_keys=True)


def placed(request: PageRequest) -> Sent | None:
    """What was sent last in this session."""
    try:
        return msgspec.convert(request.session.get(SENT), Sent | None)
    except msgspec.ValidationError:  # of an earlier version
        return None


def notices(request: PageRequest) -> list[Notice]:
    """What is to be told, once."""
    try:
        return msgspec.convert(request.session.pop(NOTICES, []), list[Notice])
    except msgspec.ValidationError:  # of an earlier version
        return []
