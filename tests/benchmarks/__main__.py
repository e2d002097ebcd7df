"""Benchmarks of Valerix on platforms started for the purpose: `nox -s bench`.

python -m tests.benchmarks --quick
python -m tests.benchmarks --only throughput,latency --rounds 5
python -m tests.benchmarks --write
python -m tests.benchmarks --from docs/performance.json --write

Prints a table to stdout and writes the figures as JSON to a file whose name is printed; with --quick, prints the core
ratios as JSON to stdout. Exits with 0 when everything was measured, whatever the figures; 1 on a failure; 130 when
interrupted.
"""

import argparse
import resource
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.benchmarks import campaign, document, drivers, quick
from tests.benchmarks.bench import Bench
from tests.benchmarks.errors import Broken
from tests.benchmarks.results import Result
from tests.benchmarks.tables import markdown

_SECONDS, _QUICK_SECONDS = 5.0, 2.0
_FILES = 8192  # a thousand clients need as many open files on either side
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _understood(list(sys.argv[1:] if arguments is None else arguments))
    for number in (signal.SIGINT, signal.SIGTERM):  # shells start background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        result = document.decoded(asked.source) if asked.source else _measured(asked)
        sys.stdout.write(
            msgspec.json.format(msgspec.json.encode(quick.core(result))).decode() + "\n"
            if asked.quick
            else markdown(result)
        )
        for path in document.write(result) if asked.write else ():
            _say(f"wrote {path.relative_to(document.DOCS.parent)}")
    except Broken as broken:
        _say(f"Error: {broken}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; everything that was started is stopped and wiped")
        return INTERRUPTED
    return 0


def _measured(asked: argparse.Namespace) -> Result:
    """Run the benchmark and return its result. The figures so far are in a file at any time."""
    _allow_many_files()
    driver = drivers.choose(asked.driver)
    bench = Bench(driver, asked.seconds, asked.seed, _say)
    with _place(asked) as directory:
        kept = directory / "result.json"
        _say(f"{driver.name}; seed {asked.seed}; figures go to {kept}")
        result = None
        for result in campaign.run(bench, asked, directory):
            kept.write_text(document.encoded(result))
    assert result is not None, "there is a round at least"
    return result


@contextmanager
def _place(asked: argparse.Namespace) -> Iterator[Path]:
    """Yield the directory for platforms and figures. A quick run leaves no files unless --directory is given."""
    if asked.directory is not None:
        asked.directory.mkdir(parents=True, exist_ok=True)
        yield asked.directory
    elif asked.quick:
        with tempfile.TemporaryDirectory(prefix="valerix-bench-") as name:
            Path(name).chmod(0o755)  # PostgreSQL runs as another user when we are root
            yield Path(name)
    else:
        directory = Path(tempfile.mkdtemp(prefix="valerix-bench-"))
        directory.chmod(0o755)  # as above
        yield directory


def _understood(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    asked = parser.parse_args(arguments)
    asked.command = _command(arguments)
    if asked.write and not asked.source and (asked.quick or asked.only):
        parser.error("--write is for a whole run: leave --quick and --only away, or name its figures by --from")
    asked.only = asked.only or (("throughput", "replays") if asked.quick else campaign.PARTS)
    asked.seconds = asked.seconds or (_QUICK_SECONDS if asked.quick else _SECONDS)
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    return asked


def _command(arguments: list[str]) -> str:
    """Return the nox command that repeats the run, without --directory."""
    options = [part for text in arguments for part in text.split("=", 1)]
    if "--directory" in options:
        where = options.index("--directory")
        del options[where : where + 2]
    return shlex.join(["nox", "-s", "bench", *(["--", *options] if options else [])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the core ratios only, in less than a minute")
    parser.add_argument("--only", type=_parts, metavar="PARTS", help=f"some of {','.join(campaign.PARTS)}")
    parser.add_argument("--rounds", type=int, help="how often each case is measured; 3, with --quick 1")
    parser.add_argument("--seconds", type=float, help="how long each case takes; 5, with --quick 2")
    parser.add_argument("--soak-minutes", type=float, default=10.0, help="of the load that memory is watched under")
    parser.add_argument("--rows", type=_numbers, default=[1_000_000, 5_000_000], help="orders stored: 1000000,5000000")
    parser.add_argument("--backlog", type=int, default=20_000, help="orders that are queued, then drained")
    parser.add_argument("--seed", type=int, help="of items and gremlins; random, and printed, if not given")
    parser.add_argument("--driver", choices=["wrk", "load"], help="of closed-loop load; wrk where it is installed")
    parser.add_argument("--directory", type=Path, help="for platforms and figures; a temporary one if not given")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md, its figures and its pictures")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="do not measure, take these figures")
    return parser


def _parts(text: str) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    for name in wanted:
        if name not in campaign.PARTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(campaign.PARTS)}")
    return wanted


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _allow_many_files() -> None:
    """Raise the limit of open files of this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    sys.exit(main())
