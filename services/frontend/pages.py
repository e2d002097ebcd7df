"""The pages, readable without sign-in, and the sign-in of operators."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect, Stream, Template
from markupsafe import Markup

from services.common.rate_limit import client_address, limited
from services.frontend import sessions
from services.frontend.backends import NoResponse, Refused
from services.frontend.dashboard import Dashboard
from services.frontend.forms import FOR_GUESTS, PageRequest, last_order_result, pop_notices
from services.frontend.operator_actions import PRESETS, OperatorActions
from services.frontend.sessions import Session, Sessions
from services.frontend.sign_in import SignIn


@get("/", include_in_schema=False)
async def index(request: PageRequest, state: State) -> Template:
    """Render the dashboard; changes come by the event stream."""
    dashboard: Dashboard = state.dashboard
    actions: OperatorActions = state.operator_actions
    return Template(
        template_name="index.html",
        context={
            "panel": lambda name: Markup(dashboard.event_stream.panel(name)),  # noqa: S704 - rendered by this package's templates # nosec B704
            "last_event_id": dashboard.event_stream.last,
            "items": dashboard.items,
            "presets": PRESETS,
            "can_audit": actions.can_audit,
            **_page_context(request),
        },
    )


@get("/orders/{order_id:uuid}", guards=[limited], include_in_schema=False)
async def order(request: PageRequest, state: State, order_id: FromPath[UUID]) -> Template:
    """Render the history of one order in both services."""
    actions: OperatorActions = state.operator_actions
    try:
        trace, fault, status = await actions.trace(order_id), None, 200
    except Refused as error:
        trace, fault, status = None, error.problem.title, error.problem.status
    except NoResponse as error:
        trace, fault, status = None, str(error), 503
    return Template(
        template_name="order.html",
        context={"order_id": order_id, "trace": trace, "fault": fault, **_page_context(request)},
        status_code=status,
    )


@get("/feed", include_in_schema=False)
async def events(
    request: PageRequest, state: State, last_event_id: Annotated[str | None, QueryParameter(max_length=64)] = None
) -> Stream:
    """Stream changes as Server-Sent Events since the `Last-Event-ID` header, or the parameter `last_event_id`."""
    dashboard: Dashboard = state.dashboard
    received = request.headers.get("last-event-id", last_event_id)
    return Stream(
        dashboard.event_stream.subscribe(received), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@get("/sign-in", include_in_schema=False)
async def sign_in_page(
    request: PageRequest, state: State, code: Annotated[str, QueryParameter(max_length=128)] = ""
) -> Template:
    """Render the sign-in form."""
    return _sign_in_form(request, state, code)


@post("/sign-in", include_in_schema=False, status_code=200, opt={FOR_GUESTS: True})
async def sign_in(request: PageRequest, state: State) -> Response[Any]:
    """Start a new operator session for a valid password or code."""
    verifier: SignIn = state.sign_in
    store: Sessions = state.sessions
    given = (await request.form()).get("password", "")
    address = client_address(request, state.trusted_hops)
    if not isinstance(given, str) or not await verifier.verify(given, address):
        return _sign_in_form(request, state, refused=True)
    await _end(sessions.get(request), store)
    sessions.set_session(request, store.new(operator=True))
    return Redirect("/", status_code=303)


@post("/sign-out", include_in_schema=False)
async def sign_out(request: PageRequest, state: State) -> Redirect:
    """End the session and revoke all copies of its cookie."""
    await _end(sessions.get(request), state.sessions)
    return Redirect("/", status_code=303)


async def _end(session: Session, store: Sessions) -> None:
    if session.is_operator:
        await store.revocations.revoke_session(session.id, session.ends)
    session.end()


def _sign_in_form(request: PageRequest, state: State, code: str = "", *, refused: bool = False) -> Template:
    store: Sessions = state.sessions
    store.store_for_form(sessions.get(request))
    return Template(
        template_name="sign-in.html",
        context={"code": code, "refused": refused, **_page_context(request)},
        status_code=403 if refused else 200,
    )


def _page_context(request: PageRequest) -> dict[str, Any]:
    """Return the template variables that every page uses."""
    session = sessions.get(request)
    return {
        "operator": session.is_operator,
        "form_token": session.form_token,
        "notices": pop_notices(request),
        "placed": last_order_result(request),
    }
