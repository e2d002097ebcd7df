"""Receipts as JUnit XML, Markdown and HTML; foreign text is escaped."""

import re
from html.parser import HTMLParser
from typing import ClassVar
from xml.etree import ElementTree as ET

import msgspec
import pytest
from markdown_it import MarkdownIt

from tests.unit.drills.samples import HELD, receipt
from valerix_cli import reports as documents
from valerix_cli.drills.receipt import Check
from valerix_cli.drills.verdict import conclude

NASTY = Check("audit", "no-oversell", "violated", "1 of 12: <script>alert(1)</script> | \x1b[31m & \ud800 \x00")
BAD = conclude(receipt(HELD, NASTY, Check("faults", "fired", "not-measured", "injected 0 of 9")), None, None)


class Strict(HTMLParser):
    """Records unclosed elements and every reference that a browser would fetch."""

    VOID: ClassVar = {"meta", "br", "hr", "rect", "path"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [(name, value) for name, value in attrs if name in {"src", "href", "srcset", "action"}]
        if tag in {"script", "link", "iframe", "img", "object"}:
            self.fetched.append((tag, None))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_junit_has_a_case_per_check_and_reports_a_broken_invariant() -> None:
    root = ET.fromstring(documents.junit([receipt(), BAD]))  # noqa: S314 - our own
    good, bad = root.findall("testsuite")
    assert (good.get("tests"), good.get("failures"), good.get("errors")) == ("2", "0", "0")
    assert (bad.get("tests"), bad.get("failures"), bad.get("errors"), bad.get("skipped")) == ("4", "1", "1", "1")
    (red,) = [case for case in bad.findall("testcase") if case.find("failure") is not None]
    assert (red.get("classname"), red.get("name")) == ("slow-inventory.audit", "no-oversell")
    assert good.find(".//property[@name='again']").get("value") == "valerix drill run slow-inventory --seed 42"  # type: ignore[union-attr]  # None fails the test as well


def test_the_html_page_is_complete_and_loads_nothing() -> None:
    page = documents.html([receipt(), BAD])
    reader = Strict()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert reader.fetched == []
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert "width=device-width" in page
    assert len(page.encode("utf-8", "replace")) < 100_000


def test_foreign_partis_escaped_in_every_report() -> None:
    assert "<script>" not in documents.html([receipt(), BAD])
    assert "&lt;script>" in documents.markdown(BAD)
    cells = re.findall(r"^\| audit .*$", documents.markdown(BAD), re.MULTILINE)
    assert [line.count(" | ") for line in cells] == [3]


@pytest.mark.parametrize(
    "text",
    [
        "a|b",
        "`x`",
        "*b*",
        "_i_",
        "a_b_c",
        "__init__",
        "~~s~~",
        "<b>x</b>",
        "&lt;",
        "[a](b)",
        "![a](b)",
        "a\\",
        "\\|",
        "# h",
    ],
)
def test_markdown_renders_foreign_partliterally(text: str) -> None:
    written = documents.markdown(msgspec.structs.replace(BAD, checks=[Check("audit", text, "violated", text)]))
    cells = [
        "".join(part.content if part.type.startswith("text") else f"<{part.type}>" for part in token.children or ())
        for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(written)
        if token.type == "inline"
    ]
    assert cells.count(text) == 2


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85, 0x2028, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_junit_is_valid_xml_with_any_character(code: int) -> None:
    strange = Check("audit", f"a{chr(code)}b", "violated", f"a{chr(code)}b")
    report = ET.fromstring(documents.junit([msgspec.structs.replace(BAD, checks=[strange], drill=f"d{chr(code)}")]))  # noqa: S314 - ours
    (failure,) = report.iter("failure")
    assert (failure.text or "").startswith("a")
    assert (failure.text or "").endswith("b")


def test_each_report_has_the_outcome_the_injections_and_the_rerun_command() -> None:
    for text in (documents.html([receipt(), BAD]), documents.markdown(BAD)):
        for part in ("VIOLATED", "latency of 5.0 s on 100 %", "180", "valerix drill run slow-inventory --seed 42"):
            assert part in text
