"""Pages to read, for everybody, and the way in for operators."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect, Stream, Template
from markupsafe import Markup

from services.common.rate_limit import client_address, limited
from services.frontend import sessions
from services.frontend.backends import Refused, Unanswered
from services.frontend.board import Board
from services.frontend.deeds import PRESETS, Deeds
from services.frontend.forms import FOR_GUESTS, PageRequest, notices, placed
from services.frontend.sessions import Session, Sessions
from services.frontend.signing import Door

NEW_KEY = 12  # random characters of a key that the page makes


@get("/", include_in_schema=False)
async def index(request: PageRequest, state: State) -> Template:
    """The dashboard, as it is now; whatever changes comes by the feed."""
    board: Board = state.board
    deeds: Deeds = state.deeds
    return Template(
        template_name="index.html",
        context={
            "panel": lambda name: Markup(board.feed.panel(name)),  # noqa: S704 - rendered by our own templates # nosec B704
            "heard": board.feed.last,
            "items": board.items,
            "presets": PRESETS,
            "can_audit": deeds.can_audit,
            **_about(request),
        },
    )


@get("/orders/{order_id:uuid}", guards=[limited], include_in_schema=False)
async def order(request: PageRequest, state: State, order_id: FromPath[UUID]) -> Template:
    """One order, step by step, across both services."""
    deeds: Deeds = state.deeds
    try:
        trace, fault, status = await deeds.trace(order_id), None, 200
    except Refused as error:
        trace, fault, status = None, error.problem.title, error.problem.status
    except Unanswered as error:
        trace, fault, status = None, str(error), 503
    return Template(
        template_name="order.html",
        context={"order_id": order_id, "trace": trace, "fault": fault, **_about(request)},
        status_code=status,
    )


@get("/feed", include_in_schema=False)
async def feed(
    request: PageRequest, state: State, heard: Annotated[str | None, QueryParameter(max_length=64)] = None
) -> Stream:
    """What changes, as Server-Sent Events; `Last-Event-ID`, or `heard` at first, says what is known already."""
    board: Board = state.board
    known = request.headers.get("last-event-id", heard)
    return Stream(board.feed.follow(known), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@get("/sign-in", include_in_schema=False)
async def sign_in_page(
    request: PageRequest, state: State, code: Annotated[str, QueryParameter(max_length=128)] = ""
) -> Template:
    return _sign_in_form(request, state, code)


@post("/sign-in", include_in_schema=False, status_code=200, opt={FOR_GUESTS: True})
async def sign_in(request: PageRequest, state: State) -> Response[Any]:
    """Begin a session for who knows the password, or has a code that was made from it. Its id is a new one."""
    door: Door = state.door
    known: Sessions = state.sessions
    given = (await request.form()).get("password", "")
    address = client_address(request, state.trusted_hops)
    if not isinstance(given, str) or not await door.opens_for(given, address):
        return _sign_in_form(request, state, refused=True)
    await _end(sessions.of(request), known)
    sessions.put(request, known.new(operator=True))
    return Redirect("/", status_code=303)


@post("/sign-out", include_in_schema=False)
async def sign_out(request: PageRequest, state: State) -> Redirect:
    """End the session: no copy of its cookie is good any more."""
    await _end(sessions.of(request), state.sessions)
    return Redirect("/", status_code=303)


async def _end(session: Session, known: Sessions) -> None:
    if session.is_operator:
        await known.ledger.end_session(session.id, session.ends)
    session.end()


def _sign_in_form(request: PageRequest, state: State, code: str = "", *, refused: bool = False) -> Template:
    known: Sessions = state.sessions
    known.show_form(sessions.of(request))
    return Template(
        template_name="sign-in.html",
        context={"code": code, "refused": refused, **_about(request)},
        status_code=403 if refused else 200,
    )


def _about(request: PageRequest) -> dict[str, Any]:
    """What each page shows of who asks for it."""
    session = sessions.of(request)
    return {
        "operator": session.is_operator,
        "form_token": session.form_token,
        "notices": notices(request),
        "placed": placed(request),
    }
