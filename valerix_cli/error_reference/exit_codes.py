"""The exit codes, explained."""

from valerix_cli.error_reference.entry import Entry
from valerix_cli.errors import ExitCode


def _exit(code: ExitCode, meaning: str, why: str, do: str) -> Entry:
    return Entry("exit code", str(int(code)), meaning, why, do)


EXIT_CODES = (
    _exit(ExitCode.DONE, "done, held", "everything went as asked", "nothing"),
    _exit(ExitCode.FAILED, "tried and failed", "a service refused or broke on the way", "read the lines on stderr"),
    _exit(ExitCode.BAD_USAGE, "bad usage or file, nothing touched", "a typing or a file error", "COMMAND --help"),
    _exit(ExitCode.UNREACHABLE, "unreachable, preflight failed", "no replica answers", "valerix doctor"),
    _exit(
        ExitCode.GUARD,
        "refused by a guard",
        "the action needs a confirmation, a token or a permission that was not given",
        "add --yes, or look at `valerix context show`",
    ),
    _exit(
        ExitCode.DOMAIN,
        "refused by the domain",
        "no stock, an unknown item, or a key that belongs to another order",
        "valerix explain insufficient-stock",
    ),
    _exit(
        ExitCode.EXPECTATION,
        "expectation or objective missed",
        "a drill's figure or a step of the demo was off",
        "read the receipt",
    ),
    _exit(
        ExitCode.INVARIANT,
        "invariant broken",
        "one key had two effects, stock does not add up, or an order was lost",
        "keep the databases as they are and read docs/guarantees.md",
    ),
    _exit(
        ExitCode.INCONCLUSIVE,
        "inconclusive",
        "no steady state, the fault never fired, orders are unsettled, or there are too few samples",
        "run it again for longer",
    ),
    _exit(ExitCode.ROLLBACK, "roll-back not confirmed", "faults may still be live", "valerix chaos off"),
    _exit(ExitCode.REGRESSION, "worse than the baseline", "the figures fell behind an earlier run", "compare the two"),
    _exit(ExitCode.CHANGES_FOUND, "changes found", "`diff --exit-code` saw a difference", "apply it, or leave it"),
    _exit(
        ExitCode.TIMED_OUT,
        "time limit exceeded",
        "the time limit was exceeded; a request that was sent may still take effect",
        "the same command with the same key, or a longer --timeout",
    ),
    _exit(ExitCode.HUNG_UP, "hung up", "the terminal went away; what was rolled back is confirmed", "nothing"),
    _exit(ExitCode.INTERRUPTED, "interrupted", "Ctrl-C; what was rolled back is confirmed", "nothing"),
    _exit(ExitCode.PIPE_CLOSED, "the reader went away", "stdout was closed, as `head` does", "nothing"),
    _exit(ExitCode.TERMINATED, "terminated", "SIGTERM; what was rolled back is confirmed", "nothing"),
)
