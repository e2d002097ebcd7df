"""The documentation matches the code: settings, metrics, problems and crash points."""

import ast
import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.common.problems import BY_STATUS
from services.common.refusals import Refusal
from services.frontend import app as frontend_app
from services.frontend.settings import FrontendSettings
from services.inventory import app as inventory_app
from services.inventory.settings import InventorySettings
from services.order import app as order_app
from services.order import worker
from services.order.settings import OrderSettings

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference.md").read_text()
ARCHITECTURE = (DOCS / "architecture.md").read_text()


SETTINGS = (OrderSettings, InventorySettings, FrontendSettings)


def documented(pattern: str, text: str = REFERENCE) -> set[str]:
    """Return the first column of the matching table rows."""
    return set(re.findall(rf"^\| `({pattern})`", text, re.MULTILINE))


def every_refusal(cls: type[Refusal] = Refusal) -> set[type[Refusal]]:
    return {cls for sub in cls.__subclasses__() for cls in (sub, *every_refusal(sub))}


def test_the_documented_settings_are_the_existing_ones() -> None:
    fields = {field.name for cls in SETTINGS for field in msgspec.structs.fields(cls)}
    assert {f"VALERIX_{name.upper()}" for name in fields} == documented(r"VALERIX_\w+")


def test_the_documented_metrics_are_the_existing_ones() -> None:
    ours = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if not metric.name.startswith(("python_", "process_"))
    }
    section = REFERENCE.partition("## Metrics")[2].partition("## Logs")[0]
    assert ours == documented("[a-z_]+", section)


def logged() -> set[str]:
    """Return the keys of every event that a service logs, except the keys that every line has."""
    keys: set[str] = set()
    for file in (DOCS.parent / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
                keys |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return keys - {"exc_info"}


def test_the_documented_log_keys_are_the_logged_ones() -> None:
    everywhere = {
        "timestamp",
        "level",
        "event",
        "service",
        "replica",
        "request_id",
        "trace_id",
        "exception",
        "from",
        "to",
    }
    section = REFERENCE.partition("## Logs")[2].partition("## Problems")[0]
    assert logged() | everywhere == documented("[a-z_]+", section)


def test_the_documented_problem_types_are_the_existing_ones() -> None:
    assert frontend_app.ASSETS  # imported, so that its refusals are registered
    slugs = {cls.slug for cls in every_refusal()} | {slug for slug, _ in BY_STATUS.values()}
    slugs |= {"internal-error", "injected-fault"}  # a bug and a gremlin are no refusals
    assert slugs == documented("[a-z-]+", REFERENCE.partition("## Problems")[2])


def test_every_crash_point_is_documented() -> None:
    for process, points in (
        ("order", order_app.CRASH_POINTS),
        ("worker", worker.CRASH_POINTS),
        ("inventory", inventory_app.CRASH_POINTS),
    ):
        row = re.search(rf"^\| {process} \| ((?:[a-z-]+(?:, )?)+) \|", ARCHITECTURE, re.MULTILINE)
        assert row is not None, process
        assert set(row[1].split(", ")) == points


def test_decisions_are_numbered_consecutively() -> None:
    names = sorted(path.name for path in (DOCS / "decisions").iterdir())
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


@pytest.mark.parametrize("document", ["guarantees.md", "security.md"])
def test_every_test_named_in_a_document_exists(document: str) -> None:
    tests = "\n".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (DOCS / document).read_text())
    assert [name for name in named if f"def {name}(" not in tests] == []
