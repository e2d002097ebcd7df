"""`python -m tests.faults.teeth [NAME…] [--seed N]` tests whether the audit detects bugs.

Runs the script on the original, which has to be clean, and on each of its mutants, which have to be caught. Exit 0 if
so, else 11.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from services.common.postgres import migrate
from tests.clocks import LIBRARY, ClockedPostgres
from tests.conftest import PASSWORD, Databases
from tests.faults.mutant_run import Result, run
from tests.faults.mutants import BY_NAME, MUTANTS
from tests.faults.mutation import Mutant
from tests.processes import open_directory
from valerix_cli.local.servers import PostgresServer, running

TOOTHLESS = 11
PRELOADED = ["services.order.app", "services.inventory.app", "tests.faults.mutant_run"]
CONTROL = "control"


class Row(msgspec.Struct, frozen=True):
    """One row of the table. A mutant is caught if the invariant that it targets was violated."""

    mutant: str
    mistake: str
    breaks: str
    result: Result

    @property
    def caught(self) -> bool:
        return any(rule.name == self.breaks for rule in self.result.broken)


class Table(msgspec.Struct, frozen=True):
    """Result of one run of the original and the mutants."""

    seed: int
    control: Result
    rows: list[Row]

    @property
    def verdict(self) -> str:
        caught = sum(row.caught for row in self.rows)
        return f"{caught} of {len(self.rows)} caught, control {'clean' if self.control.is_clean else 'NOT CLEAN'}"

    @property
    def holds(self) -> bool:
        return self.control.is_clean and all(row.caught for row in self.rows)


def measure(databases: Databases, directory: Path, mutants: Sequence[Mutant], seed: int) -> Table:
    """Run the original, then each mutant, reporting each as it is done. Journals and logs go to `directory`."""

    def one(mutant: Mutant | None) -> Result:
        place = directory / (mutant.name if mutant else CONTROL)
        place.mkdir()
        result = run(databases, place, mutant, seed)
        print(f"{result.name:32} {result.seconds:5} s  {_found(result)}", flush=True)  # noqa: T201 - a command's output
        return result

    control = one(None)
    results = [(mutant, one(mutant)) for mutant in mutants]
    return Table(seed, control, [Row(m.name, m.mistake, m.breaks, r) for m, r in results])


def markdown(table: Table) -> str:
    """Return the table as Markdown: mutant, its bug, the invariants violated, and an example."""
    lines = [
        "| mutant | mistake | caught by | for example |",
        "|---|---|---|---|",
        f"| *{CONTROL}* | none | {_rules(table.control)} | {'; '.join(table.control.missed)} |",
        *(f"| {row.mutant} | {row.mistake} | {_rules(row.result)} | {_example(row)} |" for row in table.rows),
        "",
        f"{table.verdict}. Seed {table.seed}.",
    ]
    return "\n".join(lines) + "\n"


def document(table: Table) -> bytes:
    """Return the table as JSON, with the full result of each run."""
    rows = [
        {
            "mutant": row.mutant,
            "mistake": row.mistake,
            "breaks": row.breaks,
            "caught": row.caught,
            "caught_by": [rule.name for rule in row.result.broken],
            "result": row.result,
        }
        for row in table.rows
    ]
    contents = {
        "seed": table.seed,
        "verdict": table.verdict,
        "holds": table.holds,
        "control": table.control,
        "rows": rows,
    }
    return msgspec.json.format(msgspec.json.encode(contents)) + b"\n"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    multiprocessing.set_forkserver_preload(PRELOADED)  # seven processes per run would import all of these otherwise
    directory = options.output or Path(tempfile.mkdtemp(prefix="valerix-teeth-"))
    directory.mkdir(parents=True, exist_ok=directory != options.output)  # an old journal would refer to other databases
    mutants = [BY_NAME[name] for name in options.names] or MUTANTS
    with templates() as databases:
        table = measure(databases, directory, mutants, options.seed)
    (directory / "teeth.json").write_bytes(document(table))
    (directory / "teeth.md").write_text(markdown(table))
    print(f"\n{markdown(table)}\n{directory}\n{table.verdict}")  # noqa: T201 - a command's output
    return 0 if table.holds else TOOTHLESS


@contextmanager
def templates() -> Iterator[Databases]:
    """Yield a PostgreSQL with both migrated databases as templates; its clock can be set if the system allows."""
    kind = ClockedPostgres if LIBRARY else PostgresServer
    with (
        open_directory("teeth") as place,
        running(kind.at(place, password=PASSWORD, fsync=False)) as server,
    ):
        databases = Databases(server)
        for service in ("order", "inventory"):
            migrate(databases.make(f"{service}_template"), f"services.{service}")
        yield databases


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.teeth", description="Does the audit bite?")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BY_NAME, []], help=", ".join(BY_NAME))
    parser.add_argument("--seed", type=int, default=1, help="of the gremlins")
    parser.add_argument("--output", type=Path, help="a new directory for the table, the journals and the logs")
    return parser


def _found(result: Result) -> str:
    return f"{_rules(result)}{''.join(f'; {what}' for what in result.missed)}"


def _rules(result: Result) -> str:
    return ", ".join(f"{rule.name} ({rule.broken})" for rule in result.broken) or "nothing"


def _example(row: Row) -> str:
    examples = [example for rule in row.result.broken if rule.name == row.breaks for example in rule.examples]
    example = f"{examples[0].subject}: {examples[0].wrong}" if examples else "NOT CAUGHT"
    return example.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
