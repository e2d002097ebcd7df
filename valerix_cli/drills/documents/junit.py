"""JUnit XML: a suite per run, a case per check, as the readers of pipelines take it."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from valerix_cli.drills.receipt import Check, Receipt

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(receipts: Sequence[Receipt]) -> bytes:
    root = ET.Element("testsuites", name="valerix drills")
    for receipt in receipts:
        _suite(root, receipt)
    ET.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root) + b"\n"


def _suite(root: ET.Element, receipt: Receipt) -> None:
    failures = sum(check.verdict in {"missed", "violated"} for check in receipt.checks)
    skipped = sum(check.verdict == "not-measured" for check in receipt.checks)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=receipt.drill,
        tests=str(len(receipt.checks) + 1),
        failures=str(failures),
        errors=str(int(receipt.outcome != "passed")),
        skipped=str(skipped),
        time=f"{receipt.seconds:.3f}",
        timestamp=receipt.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("run", receipt.run), ("seed", str(receipt.seed)), ("again", receipt.again)):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for check in receipt.checks:
        _case(suite, receipt, check)
    conclusion = ET.SubElement(suite, "testcase", classname=f"{receipt.drill}.conclusion", name="the drill passed")
    if receipt.outcome != "passed":
        said = _clean("; ".join(receipt.why) or receipt.outcome)
        ET.SubElement(conclusion, "error", type=receipt.outcome, message=said).text = said


def _case(suite: ET.Element, receipt: Receipt, check: Check) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{receipt.drill}.{check.phase}", name=_clean(check.require))
    why = _clean(check.why)
    match check.verdict:
        case "held":
            ET.SubElement(case, "system-out").text = why
        case "not-measured":
            ET.SubElement(case, "skipped", message=f"inconclusive: {why}")
        case verdict:
            ET.SubElement(case, "failure", type=verdict, message=why).text = why


def _clean(text: str) -> str:
    """Without what XML cannot hold: it may come from anywhere."""
    return _NOT_XML.sub("�", text)
