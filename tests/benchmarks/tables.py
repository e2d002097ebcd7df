"""A result as Markdown: one table per subject, each with the settings that its figures depend on."""

from collections.abc import Callable, Iterator

from tests.benchmarks import result_tables
from tests.benchmarks.plots import plots
from tests.benchmarks.result_tables import Rows
from tests.benchmarks.results import Result


def markdown(result: Result) -> str:
    """Return the whole result as Markdown."""
    pictures = plots(result)
    sections: list[tuple[str, Callable[[Result], Rows], str]] = [
        ("Requirements", result_tables.required, ""),
        ("Orders one by one, by pgbench", result_tables.bound, ""),
        ("New orders by clients, closed loop", result_tables.throughput, "performance-throughput.svg"),
        ("Replays of finished orders", result_tables.replays, ""),
        ("Latency at a rate, open loop", result_tables.rates, "performance-latency.svg"),
        ("Under gremlins, 64 clients", result_tables.gremlins, ""),
        ("Backlog", result_tables.drains, "performance-drain.svg"),
        ("Orders already stored", result_tables.rows, ""),
        ("Replicas of the order service", result_tables.replicas, ""),
        ("Memory", result_tables.memory, "performance-memory.svg"),
        ("Requests sent and checked", result_tables.sent, ""),
    ]
    parts = [_head(result)]
    for title, table, picture in sections:
        if len(rows := table(result)) > 1:
            parts.append(f"### {title}\n\n{_table(rows)}\n\n{_settings(result)}")
            parts += [f"![{title}](images/{picture})"] if picture in pictures else []
    return "\n\n".join(parts) + "\n"


def _head(result: Result) -> str:
    machine, changed = result.machine, ", ".join(f"{name}={value}" for name, value in result.settings.items())
    scripts = "\n\n".join(f"-- {name}\n{script.strip()}" for name, script in result.scripts.items())
    return f"""\
Measured on {result.started:%Y-%m-%d} by `{result.command}`: each case {result.rounds} times,
{result.seconds:g} s long (open loop: twice that), in turn. A figure is the median, with the extremes in brackets; a
ratio is made of two figures of one round. Times are in milliseconds.

- machine: {machine.processor}, {machine.cores} cores, {machine.memory:g} GB, {machine.system}, Python {machine.python};
  databases on {machine.filesystem}; load, services and servers share the cores
- closed-loop load: {result.driver}; open-loop load: valerix load
- PostgreSQL: {", ".join(f"{name} {value}" for name, value in result.server.items())}
- Valerix as `valerix up` starts it, but for {changed or "nothing"}

<details><summary>What pgbench runs, statements prepared</summary>

```sql
{scripts}
```

</details>"""


def _settings(result: Result) -> str:
    durable = ", ".join(f"{name} {result.server.get(name, '?')}" for name in ("fsync", "synchronous_commit"))
    return f"<sub>{durable}; {result.machine.cores} cores; {result.driver}; `{result.command}`</sub>"


def _table(rows: Rows) -> str:
    return "\n".join(_lines(rows))


def _lines(rows: Rows) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        if not number:
            yield "|" + "---|" * len(row)
