"""Runs every shipped drill twice, each time on a temporary platform: `nox -s drills`.

Both runs have to pass, and to hit the same orders. Timing and the breaker decide which attempts take place, so only
invariants are compared: the seed selects every hit, and if the breaker stayed closed, the first attempts of all orders
due well within a fault are hit in both runs or in neither.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID, uuid5

import msgspec

from services.inventory.gremlins import chance
from services.order.domain import KEYS_TO_ORDERS
from valerix_cli.drills import parser
from valerix_cli.drills.model import Drill
from valerix_cli.drills.receipt import Receipt, decoder

VALERIX = str(Path(sys.executable).with_name("valerix"))
EDGE = 2.0  # seconds at both ends of a fault during which an order may or may not be affected


class Twice(msgspec.Struct, frozen=True):
    """Two runs of a drill, and their discrepancies."""

    drill: str
    codes: tuple[int, int]
    injected: tuple[int, int]
    compared: int
    wrong: list[str]


def run(name: str, receipts: Path) -> tuple[int, Receipt]:
    """Run a drill; return its exit code and receipt."""
    environ = os.environ | {"VALERIX_RECEIPTS_DIR": str(receipts)}
    done = subprocess.run(
        [VALERIX, "drill", "run", name, "--fresh", "-q", "-o", "json"],
        env=environ,
        stdout=subprocess.PIPE,
        check=False,
    )
    if not done.stdout:
        raise SystemExit(f"{name} was not run: exit {done.returncode}")
    return done.returncode, decoder.decode(done.stdout)


def compare(drill: Drill, one: tuple[int, Receipt], two: tuple[int, Receipt]) -> Twice:
    codes, receipts = (one[0], two[0]), (one[1], two[1])
    wrong = [f"run {number} ended with {code}" for number, code in enumerate(codes, 1) if code]
    rates = {fault.gremlin.replace("-", "_"): fault.rate for fault in drill.faults if fault.gremlin}
    for receipt in receipts:
        wrong += [
            f"{receipt.run}: {hit} is not what seed {drill.seed} asks for"
            for hit in receipt.hits
            if chance(drill.seed, hit.gremlin, UUID(hit.order_id), hit.attempt) >= rates[hit.gremlin]
        ]
    compared = 0
    if rates and all(receipt.injections and receipt.opened_after is None for receipt in receipts):
        orders = within(drill, receipts)
        compared = len(orders)
        first = [{(hit.order_id, hit.gremlin) for hit in receipt.hits if hit.attempt == 1} for receipt in receipts]
        wrong += [f"{order} was hit in one run only" for order, _ in first[0] ^ first[1] if order in orders]
    injected = [sum(injection.hits for injection in receipt.injections) for receipt in receipts]
    return Twice(drill.name, codes, (injected[0], injected[1]), compared, wrong)


def within(drill: Drill, receipts: tuple[Receipt, Receipt]) -> set[str]:
    """Return the orders that were due well within the gremlins' time in both runs."""
    spans = [
        (injection.began, injection.ended or 0.0)
        for receipt in receipts
        for injection in receipt.injections
        if injection.kind == "gremlin"
    ]
    begin, end = max(span[0] for span in spans) + EDGE, min(span[1] for span in spans) - EDGE
    rate = drill.load.rate or 0.0
    numbers = range(round(begin * rate), round(end * rate))
    return {str(uuid5(KEYS_TO_ORDERS, f"{receipts[0].key_prefix}{number}")) for number in numbers}


def main(names: list[str]) -> int:
    kept = Path(tempfile.mkdtemp(prefix="valerix-drills-twice-"))
    say(f"receipts in {kept}")
    found: list[Twice] = []
    for file in parser.shipped():
        if names and file.drill.name not in names:
            continue
        found.append(twice := compare(file.drill, run(file.drill.name, kept), run(file.drill.name, kept)))
        say(line(twice))
    (kept / "twice.json").write_bytes(msgspec.json.encode(found))
    if unknown := {*names} - {twice.drill for twice in found}:
        raise SystemExit(f"there is no drill {', '.join(sorted(unknown))}")
    failed = sum(bool(twice.wrong) for twice in found)
    say(json.dumps({"drills": len(found), "failed": failed}))
    return 1 if failed else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def line(twice: Twice) -> str:
    injected = f"injected {twice.injected[0]} and {twice.injected[1]}"
    compared = f", {twice.compared} orders compared" if twice.compared else ""
    verdict = "passed twice" if not twice.wrong else "; ".join(twice.wrong[:5])
    return f"{twice.drill:20} {verdict}, {injected}{compared}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
