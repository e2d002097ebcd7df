"""Text descriptions of gremlins: active ones, their effects and time left."""

from valerix_cli.clients.wire import Activation
from valerix_cli.units import format_duration, percent


def gremlins(activation: Activation) -> list[tuple[str, str]]:
    """Return each gremlin of an activation with its effect: `("latency", "5.0 s on 100 %")`."""
    live = []
    if activation.latency:
        live.append(
            ("latency", f"{format_duration(activation.latency_ms / 1000)} on {percent(activation.latency_rate)}")
        )
    if activation.crash_rate:
        live.append(("crash", percent(activation.crash_rate)))
    if activation.partial_failure_rate:
        live.append(("partial-failure", percent(activation.partial_failure_rate)))
    return live


def summary(activation: Activation) -> str:
    """Describe an activation: `latency 5.0 s on 100 %, crash 30 %`, or that it follows a script."""
    if activation.script_length is not None:
        attempts = "attempt" if activation.script_length == 1 else "attempts"
        names = ", ".join(name for name, _ in gremlins(activation)) or "nothing"
        return f"scripted: {activation.script_length} {attempts} ({names})"
    return ", ".join(f"{name} {what}" for name, what in gremlins(activation)) or "nothing"


def notice(live: Activation) -> str:
    """Return the line that every command prints while a gremlin is active."""
    left = format_duration(live.remaining_seconds)
    return f"A gremlin is live: {summary(live)}; {left} left. Off: valerix chaos off"
