"""Destination and format of output."""

import json
from io import StringIO

import pytest
import yaml
from rich.console import Console, RenderableType

from tests.unit.cli import samples
from tests.unit.cli.samples import NOON, order
from valerix_cli.options import Format
from valerix_cli.output import Output, follow, info, print_result, warn
from valerix_cli.views.chaos import activation_view
from valerix_cli.views.orders import orders_view


def shown(capsys: pytest.CaptureFixture[str], wanted: Format) -> str:
    print_result([order(), order()], orders_view, Output(wanted))
    return capsys.readouterr().out


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(shown(capsys, Format.JSON))
    assert [one["item_id"] for one in document] == ["ps5", "ps5"]


def test_jsonl_is_one_line_per_entry(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, Format.JSONL).splitlines()
    assert [json.loads(line)["quantity"] for line in lines] == [2, 2]


def test_yaml_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load(shown(capsys, Format.YAML))
    assert [one["status"] for one in document] == ["confirmed", "confirmed"]


def test_a_table_in_a_pipe_has_no_colour_no_boxes_and_nothing_cut(capsys: pytest.CaptureFixture[str]) -> None:
    key = "k" * 255
    print_result([order(idempotency_key=key)], orders_view, Output())
    out = capsys.readouterr().out
    assert key in out
    assert out.isascii()
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_text_of_a_client_is_not_interpreted_as_markup_or_control_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    activation = samples.activation(reason="[bold]\x1b[2J[/nonsense]")
    print_result(activation, activation_view, Output())
    warn("\x1b[2J", Output())
    seen = capsys.readouterr()
    assert "[bold]\\x1b[2J[/nonsense]" in seen.out
    assert seen.err == "\\x1b[2J\n"


def test_a_narrow_terminal_hides_columns_but_never_cuts_an_id() -> None:
    def drawn(width: int) -> str:
        console = Console(width=width, file=StringIO(), highlight=False)
        with console.capture() as captured:
            console.print(orders_view([order(status="failed", reason="insufficient-stock")]))
        return captured.get()

    assert "KEY" in drawn(130)
    assert "KEY" not in drawn(100)
    assert str(order().order_id) in drawn(80)


def test_quiet_prints_only_results(capsys: pytest.CaptureFixture[str]) -> None:
    info("by the way", Output(quiet=True))
    assert capsys.readouterr().err == ""


def test_a_live_view_without_a_terminal_prints_a_line_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    def screen(_: int) -> RenderableType:
        raise AssertionError("nobody looks at a pipe")

    follow(
        [1, 1, 2],
        screen=screen,
        changes=lambda before, now: [] if before == now else [{"at": NOON, "now": now}],
        line=lambda change: f"now {change['now']}",
        output=Output(),
    )
    assert capsys.readouterr().out == "now 1\nnow 2\n"
