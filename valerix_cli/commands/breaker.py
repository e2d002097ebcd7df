"""valerix breaker: status, history, open, close, auto."""

from typing import Annotated

import typer

from valerix_cli.clients.wire import Breaker, ReplicaBreaker
from valerix_cli.options import MOST
from valerix_cli.output import follow, info, print_result
from valerix_cli.polling import poll
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.views import breaker as views
from valerix_cli.waiting import wait_for

_SYNC_TIMEOUT = 2.0  # seconds

app = App("Show and force the circuit breaker between orders and inventory.")


@app.command("status")
def status(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show the circuit breaker of each replica, its window and its reason."""
    session: Session = ctx.obj
    if not watch:
        print_result(session.orders.breaker(), views.breaker_view, session.output)
        return
    follow(
        poll(session.orders.breaker, session.output),
        screen=views.breaker_view,
        changes=changed,
        line=views.replica_line,
        output=session.output,
    )


@app.command("history")
def history(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST, help="Maximum number of rows.")] = 20,
) -> None:
    """Show the transitions of the breakers and their reasons, newest first."""
    session: Session = ctx.obj
    print_result(session.orders.breaker().history[:limit], views.history_view, session.output)


@app.command("open")
def force_open(ctx: typer.Context) -> None:
    """Force every breaker open: orders are queued, nothing is sent."""
    _force(ctx.obj, "open", "the breaker opens")


@app.command("close")
def force_closed(ctx: typer.Context) -> None:
    """Force every breaker closed: every call is sent, even if calls fail."""
    _force(ctx.obj, "closed", "the breaker closes")


@app.command("auto")
def automatic(ctx: typer.Context) -> None:
    """End a forced state: each breaker decides again by its own window."""
    _force(ctx.obj, "auto", "the breaker is automatic again")


def changed(before: Breaker | None, now: Breaker) -> list[ReplicaBreaker]:
    """Return the replicas whose breaker is new or in another state."""
    known = {one.replica: (one.state, one.forced) for one in before.replicas} if before else {}
    return [one for one in now.replicas if known.get(one.replica) != (one.state, one.forced)]


def _force(session: Session, state: str, effect: str) -> None:
    session.confirm_remote(f"make sure that {effect}")
    before = session.orders.breaker()
    session.orders.force_breaker(state)
    print_result(_once_known(session, None if state == "auto" else state), views.breaker_view, session.output)
    forced = {one.forced for one in before.replicas} - {None}
    undo = {"open": "open", "closed": "close"}.get(forced.pop() or "", "auto") if forced else "auto"
    if state != "auto" or undo != "auto":
        info(f"Undo: {command('valerix breaker', undo)}", session.output)


def _once_known(session: Session, forced: str | None) -> Breaker:
    """Return the breakers once every replica has the forced state, or after two seconds."""

    def synchronized() -> Breaker | None:
        breaker = session.orders.breaker()
        return breaker if all(one.forced == forced for one in breaker.replicas) else None

    return wait_for(synchronized, _SYNC_TIMEOUT, interval=0.1) or session.orders.breaker()
