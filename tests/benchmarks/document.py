"""docs/performance.md: text written by hand, with the results of a run between two markers."""

from pathlib import Path

import msgspec

from tests.benchmarks.errors import Broken
from tests.benchmarks.plots import plots
from tests.benchmarks.results import Result
from tests.benchmarks.tables import markdown

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def write(result: Result, docs: Path = DOCS) -> list[Path]:
    """Write the tables, pictures and figures. Returns the files. Raises Broken if the markers are missing."""
    document = docs / "performance.md"
    contents = {document: between(document.read_text(), markdown(result)), docs / "performance.json": encoded(result)}
    contents |= {docs / "images" / name: picture for name, picture in plots(result).items()}
    for path, content in contents.items():
        path.write_text(content)
    return list(contents)


def between(document: str, generated: str) -> str:
    """Return the document with the part between its markers replaced."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Broken("The tables have no place.", f"{BEGIN} and {END} are not both there", "put them back")
    return f"{before}{BEGIN}\n{generated}{END}{after}"


def encoded(result: Result) -> str:
    """Return a result as JSON, one field per line."""
    fields = [
        f"{msgspec.json.encode(name).decode()}:{msgspec.json.encode(value).decode()}"
        for name, value in msgspec.to_builtins(result).items()
    ]
    return "{" + ",\n".join(fields) + "}\n"


def decoded(path: Path) -> Result:
    """Return a stored result. Raises Broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError) as error:
        raise Broken(f"{path} holds no result.", str(error), "--from docs/performance.json") from error
