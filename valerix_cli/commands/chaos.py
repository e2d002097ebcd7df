"""valerix chaos: on, off, status, hits, halt."""

from functools import partial
from typing import Annotated, Any

import typer

from valerix_cli.clients.chaos_request import Gremlin, merged
from valerix_cli.clients.wire import DELAY_LIMIT, TTL_LIMIT, Activation, Chaos, Ended
from valerix_cli.errors import BadUsageError, CliError, GuardError
from valerix_cli.options import MOST
from valerix_cli.output import follow, info, print_result, warn
from valerix_cli.polling import poll
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.units import format_duration, parse_positive_duration, parse_share, shown
from valerix_cli.views import chaos as views

app = App("Turn gremlins on and off.")


def parse_ttl(text: str) -> float:
    """Parse the lifetime of gremlins, in whole seconds."""
    seconds = parse_positive_duration(text)
    if seconds % 1 or seconds > TTL_LIMIT:
        raise typer.BadParameter(f"{shown(text)} is not a whole number of seconds from 1s to {TTL_LIMIT // 60}m.")
    return seconds


def parse_delay(text: str) -> float:
    """Parse a delay, in whole milliseconds."""
    seconds = parse_positive_duration(text)
    if round(seconds * 1000, 6) % 1 or seconds > DELAY_LIMIT:
        raise typer.BadParameter(f"{shown(text)} is not a whole number of milliseconds from 1ms to {DELAY_LIMIT}s.")
    return seconds


@app.command("on")
def on(
    ctx: typer.Context,
    gremlin: Annotated[Gremlin, typer.Argument(help="The fault to inject.")],
    *,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="SHARE", parser=parse_share, help="Share of calls it hits: 0.3 or 30%; all."),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option("--delay", metavar="DURATION", parser=parse_delay, help="Added latency; 5s."),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option("--ttl", metavar="DURATION", parser=parse_ttl, help="Time to live; 60s."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=MOST, help="The same seed hits the same orders.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Shown by `chaos status` and the dashboard.")] = None,
) -> None:
    """Turn a gremlin on. Active gremlins stay on, and all get the new time to live."""
    session: Session = ctx.obj
    if delay is not None and gremlin is not Gremlin.LATENCY:
        raise BadUsageError(f"{gremlin} has no delay.", "only latency takes --delay", "valerix chaos on latency")
    session.confirm_remote(f"turn {gremlin} on")
    live = session.inventory.chaos().live
    if live is not None and live.script_length is not None:
        raise GuardError(
            f"{gremlin} was not turned on.",
            "the active gremlins follow a script, which cannot be combined with others",
            "valerix chaos off, then the same again",
        )
    body = merged(live, gremlin, rate=rate, delay=delay, ttl=ttl, seed=seed, reason=reason)
    activation = session.inventory.activate(body)
    print_result(activation, views.activation_view, session.output)
    ends = format_duration(activation.ttl_seconds)
    info(f"Undo: valerix chaos off (expires in {ends})", session.output)


@app.command("off")
def off(ctx: typer.Context) -> None:
    """Turn all gremlins off."""
    session: Session = ctx.obj
    session.confirm_remote("turn the gremlins off")
    ended = session.inventory.deactivate()
    print_result(Ended(ended), _ended_view, session.output)
    for undo in again(ended) if ended else []:
        info(f"Undo: {undo}", session.output)


@app.command("status")
def status(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show the active gremlins and their hits."""
    session: Session = ctx.obj
    if not watch:
        print_result(session.inventory.chaos(), views.chaos_view, session.output)
        return
    follow(
        poll(session.inventory.chaos, session.output),
        screen=views.chaos_view,
        changes=changed,
        line=views.chaos_line,
        output=session.output,
    )


@app.command("hits")
def hits(
    ctx: typer.Context,
    activation_id: Annotated[
        str | None, typer.Argument(metavar="[ACTIVATION_ID]", help="An activation; the live one, else the last.")
    ] = None,
) -> None:
    """List every attempt that gremlins hit."""
    session: Session = ctx.obj
    listed = session.inventory.hits(latest(session.inventory.chaos()) if activation_id is None else activation_id)
    print_result(listed, views.hits_view, session.output)
    if not listed.complete:
        warn("The list is incomplete: some hits were not stored, or are not reported yet.", session.output)


@app.command("halt")
def halt(
    ctx: typer.Context,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Allow gremlins again.")] = False,
) -> None:
    """End all gremlins and allow no new ones, until resumed."""
    session: Session = ctx.obj
    session.confirm_remote("allow gremlins again" if resume else "halt all gremlins")
    print_result(session.inventory.halt(halted=not resume), views.chaos_view, session.output)
    info("Undo: valerix chaos halt" + ("" if resume else " --resume"), session.output)


def latest(chaos: Chaos) -> str:
    """Return the id of the active or else the latest activation. Raises CliError if there is none."""
    for activation in [*filter(None, [chaos.live]), *chaos.recent]:
        return str(activation.id)
    raise CliError("There are no hits to list.", "no gremlin was live within the last day", "valerix chaos on crash")


def again(ended: Activation) -> list[str]:
    """Return the commands that repeat an activation with its seed; a script has none."""
    if ended.script_length is not None:
        return ["none, its script ended with it"]
    on = partial(command, "valerix chaos on")
    same = {"ttl": f"{ended.ttl_seconds:g}s", "seed": ended.seed}
    commands = []
    if ended.latency:
        commands.append(on("latency", rate=f"{ended.latency_rate:g}", delay=f"{ended.latency_ms}ms", **same))
    if ended.crash_rate:
        commands.append(on("crash", rate=f"{ended.crash_rate:g}", **same))
    if ended.partial_failure_rate:
        commands.append(on("partial-failure", rate=f"{ended.partial_failure_rate:g}", **same))
    return commands


def changed(before: Chaos | None, now: Chaos) -> list[Chaos]:
    """Return `now` as a list, empty if only the remaining time differs."""
    return [] if before is not None and _essence(before) == _essence(now) else [now]


def _essence(chaos: Chaos) -> tuple[object, ...]:
    live = chaos.live
    return (chaos.halted, None if live is None else (live.id, live.acknowledged, live.counts))


def _ended_view(ended: Ended) -> Any:
    return "No gremlin was live." if ended.ended is None else views.activation_view(ended.ended)
