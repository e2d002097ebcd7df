"""JUnit XML: a test suite per run, a test case per check.

`escape_values` escapes also the characters that XML 1.0 (section 2.2) does not allow.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET  # nosec B405 # written, never parsed

from valerix_cli.drills.receipt import Check, Receipt
from valerix_cli.escaping import escape_values


def junit(receipts: Sequence[Receipt]) -> bytes:
    root = ET.Element("testsuites", name="valerix drills")
    for receipt in receipts:
        _suite(root, escape_values(receipt))
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
    for name, value in (("run", receipt.run), ("seed", str(receipt.seed)), ("again", receipt.rerun_command)):
        ET.SubElement(properties, "property", name=name, value=value)
    for check in receipt.checks:
        _case(suite, receipt, check)
    conclusion = ET.SubElement(suite, "testcase", classname=f"{receipt.drill}.conclusion", name="the drill passed")
    if receipt.outcome != "passed":
        message = "; ".join(receipt.why) or receipt.outcome
        ET.SubElement(conclusion, "error", type=receipt.outcome, message=message).text = message


def _case(suite: ET.Element, receipt: Receipt, check: Check) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{receipt.drill}.{check.phase}", name=check.require)
    why = check.why
    match check.verdict:
        case "held":
            ET.SubElement(case, "system-out").text = why
        case "not-measured":
            ET.SubElement(case, "skipped", message=f"inconclusive: {why}")
        case verdict:
            ET.SubElement(case, "failure", type=verdict, message=why).text = why
