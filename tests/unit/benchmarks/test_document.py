"""Output of a result: tables, pictures, the page, JSON."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.benchmarks import document, quick
from tests.benchmarks.errors import Broken
from tests.benchmarks.gremlins import SEEDS_CHAOS
from tests.benchmarks.plots import plots
from tests.benchmarks.results import Capacity, Result, Soak
from tests.benchmarks.svg import Curve, chart
from tests.benchmarks.tables import markdown
from tests.benchmarks.throughput import CLIENTS
from tests.unit.benchmarks.results import DRAIN, ordeal, result, sample

PAGE = f"By hand.\n\n{document.BEGIN}\nold\n{document.END}\n\nBy hand too.\n"


@pytest.fixture
def full() -> Result:
    """A result in which every field has a value."""
    cases = {f"{case}/{clients}": [sample()] for case in ("hot", "items", "new", "replays") for clients in CLIENTS}
    cases |= {f"rate/{rate}": [sample()] for rate in (100, 500, 1000, 2000, "half")}
    cases |= {f"rows/1000000/{kind}/64": [sample()] for kind in ("empty", "full")}
    return result(
        cases=cases | {"replicas/2/hot/64": [sample()]},
        ordeals={SEEDS_CHAOS: [ordeal()]},
        drains=[DRAIN],
        soak=Soak(64, sample(), [0.0, 5.0], {"order-1": [90.0, 91.0]}),
        peaks={"order-1": 95.0},
        audits={"the platform": "clean, 5 orders compared"},
        capacity=Capacity(30_000.0, 0.5),
    )


def test_only_text_between_the_markers_is_replaced() -> None:
    assert document.between(PAGE, "new\n") == PAGE.replace("old", "new")


def test_replacing_is_idempotent() -> None:
    assert document.between(document.between(PAGE, "new\n"), "new\n") == document.between(PAGE, "new\n")


@pytest.mark.parametrize("marker", [document.BEGIN, document.END])
def test_a_page_without_a_marker_is_left_alone(marker: str) -> None:
    with pytest.raises(Broken, match="not both there"):
        document.between(PAGE.replace(marker, ""), "new\n")


def test_the_page_of_this_repository_has_both_markers() -> None:
    assert document.between((document.DOCS / "performance.md").read_text(), "new\n")


def test_a_result_read_back_is_the_same(full: Result, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(document.encoded(full))
    assert document.decoded(tmp_path / "result.json") == full


def test_a_file_that_holds_no_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(Broken, match="holds no result"):
        document.decoded(tmp_path / "other.json")


def test_writing_creates_the_page_the_figures_and_the_pictures(full: Result, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "performance.md").write_text(PAGE)
    written = document.write(full, tmp_path)
    assert {path.name for path in written} == {"performance.md", "performance.json", *plots(full)}
    assert all(path.exists() for path in written)


def test_every_table_states_its_conditions(full: Result) -> None:
    text = markdown(full)
    assert text.count("\n### ") == text.count("<sub>fsync on, synchronous_commit on; 2 cores") == 11


def test_every_row_of_a_table_has_as_many_cells_as_its_head(full: Result) -> None:
    for table in markdown(full).split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, table


def test_an_unmeasured_part_has_no_table() -> None:
    assert "### Replicas" not in markdown(result())
    assert plots(result()) == {}


def test_pictures_are_small_and_self_contained(full: Result) -> None:
    pictures = plots(full)
    assert len(pictures) == 4
    for picture in pictures.values():
        ET.fromstring(picture)  # noqa: S314 - our own
        assert len(picture) < 20_000
        assert "script" not in picture
        assert picture.count("http") == 1  # the namespace of SVG


def test_the_same_figures_give_the_same_picture(full: Result) -> None:
    assert plots(full) == plots(full)


def test_a_logarithmic_axis_spaces_factors_evenly() -> None:
    drawn = chart("", "clients", [Curve("a", [(1.0, 0.0), (10.0, 0.0), (100.0, 0.0)])], ticks=[1, 10, 100])
    path = next(line for line in drawn.splitlines() if 'fill="none"' in line)
    places = [float(point.split()[0]) for point in path.split('"')[1].lstrip("M").split("L")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)


def test_the_core_ratios_are_those_of_the_rounds() -> None:
    cases = {"hot/1": [sample(100.0, p50=5.0)], "hot/64": [sample(2500.0)]}
    cases |= {"new/64": [sample(2000.0)], "replays/64": [sample(5000.0)]}
    core = quick.core(result(cases=cases))
    assert core["of_one_by_one"] == {"hot/1": 0.1, "hot/64": 2.5}
    assert core["p50_alone_of_three_commits"] == 2.5
    assert core["replays_of_new"] == 2.5


def test_the_core_ratios_of_an_incomplete_run_are_null() -> None:
    assert quick.core(result())["replays_of_new"] is None
