"""`python -m tests.fuzz`: thousands of HTTP messages, valid and mutated, for each service, directly and through nginx.

Findings are a response to another request, a request parsed out of a body, a server error except 501 and 503, an error
in a log, and growth of memory or of open descriptors. Exits with 1 if there are any. The same seed sends the same
bytes.
"""

import argparse
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.fuzz.conversation import talk
from tests.fuzz.messages import conversation
from tests.fuzz.services import Target, running_fleet
from tests.nginx import NGINX

MESSAGES = 20_000
THREADS = 12
WARM_UP = 0.25  # of the messages, before memory is measured
GROWTH = 24 * 1024 * 1024  # bytes of memory
DESCRIPTORS = 8  # normal fluctuation
SHOWN = 10  # findings for each target


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fuzz(target: Target, seed: int, numbers: range) -> list[str]:
    """Run the conversations of these numbers with a target. Return the findings."""

    def one(number: int) -> str | None:
        what = conversation(seed, target.name, number, b"127.0.0.1:%d" % target.service.port)
        wrong = talk(what, target.port, through_nginx=target.through_nginx)
        return f"{what.name}: {wrong}; sent: {b''.join(what.pieces)[:600]!r}" if wrong else None

    with ThreadPoolExecutor(THREADS) as pool:
        return [wrong for wrong in pool.map(one, numbers) if wrong]


def growth(target: Target, before: tuple[int, int]) -> list[str]:
    """Return the growth of the service since `before`, once connections have ended."""
    memory, descriptors = before
    deadline = time.monotonic() + 15
    while target.descriptors() > descriptors + DESCRIPTORS and time.monotonic() < deadline:
        time.sleep(0.2)
    wrong = []
    if (now := target.memory()) > memory + GROWTH:
        wrong.append(f"memory grew from {memory >> 20} to {now >> 20} MiB")
    if (open_now := target.descriptors()) > descriptors + DESCRIPTORS:
        wrong.append(f"open descriptors grew from {descriptors} to {open_now}")
    return wrong


def fuzz_all(targets: list[Target], seed: int, messages: int) -> int:
    """Fuzz each target and print a line for it. Return the number of findings."""
    share, findings = messages // len(targets), 0
    for index, target in enumerate(targets):
        began, first = time.monotonic(), index * share
        middle = first + int(share * WARM_UP)
        wrong = fuzz(target, seed, range(first, middle))
        before = target.memory(), target.descriptors()
        wrong += fuzz(target, seed, range(middle, first + share)) + growth(target, before) + target.failures()
        way = "through nginx" if target.through_nginx else "directly"
        grown = (target.memory() - before[0]) >> 20
        say(
            f"{target.name:10} {way:14} {share} messages in {time.monotonic() - began:.0f} s, "
            f"memory {grown:+d} MiB, {len(wrong)} findings",
        )
        for finding in wrong[:SHOWN]:
            say(f"  {finding}")
        findings += len(wrong)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz HTTP, and see that nothing breaks.")
    parser.add_argument("--seed", type=int, help="the same seed sends the same bytes")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"how many in all; {MESSAGES} unless given")
    parser.add_argument("--service", help="only this one")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    say(f"seed {seed}: python -m tests.fuzz --seed {seed} --messages {options.messages}")
    if NGINX is None:
        say("no nginx on the path, so services are tried directly only: apt-get install nginx-light")
    with running_fleet() as targets:
        chosen = [target for target in targets if options.service in {None, target.name}]
        findings = fuzz_all(chosen, seed, options.messages)
    say("held" if not findings else f"{findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
