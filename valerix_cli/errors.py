"""Errors that end a command, each with its exit code.

CliError                     1    tried and failed
├── OutputError              1    done, but the result could not be written
├── BadUsageError            2    bad usage or file, nothing was touched
├── UnreachableError         3    no response, or a preflight check failed
├── GuardError               4    refused by a guard
├── DomainError              5    refused by the domain (no stock, key reused)
├── ExpectationError        10    an expectation or an objective was missed
├── InvariantError          11    an invariant is broken
├── InconclusiveError       12    inconclusive: too few data
├── RollbackError           13    roll-back not confirmed, faults may be live
├── RegressionError         14    worse than the baseline
├── ChangesFoundError       20    `diff --exit-code` found changes
└── TimeoutExpiredError    124    the time limit passed
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    UNREACHABLE = 3
    GUARD = 4
    DOMAIN = 5
    EXPECTATION = 10
    INVARIANT = 11
    INCONCLUSIVE = 12
    ROLLBACK = 13
    REGRESSION = 14
    CHANGES_FOUND = 20
    TIMED_OUT = 124
    HUNG_UP = 129
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143

    @classmethod
    def of(cls, end: BaseException) -> "ExitCode":
        """Return the exit code of a command ended by a signal: that of SystemExit, or 130 for KeyboardInterrupt."""
        return cls(int(end.code or 0)) if isinstance(end, SystemExit) else cls.INTERRUPTED


class CliError(Exception):
    """An error in three lines: `what` happened, `why`, and the command to try next (`hint`)."""

    code: ExitCode = ExitCode.FAILED

    def __init__(self, what: str, why: str, hint: str) -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class OutputError(CliError):
    """The command has completed, but its result could not be written."""


class BadUsageError(CliError):
    code = ExitCode.BAD_USAGE


class UnreachableError(CliError):
    code = ExitCode.UNREACHABLE


class GuardError(CliError):
    code = ExitCode.GUARD


class DomainError(CliError):
    code = ExitCode.DOMAIN


class ExpectationError(CliError):
    code = ExitCode.EXPECTATION


class InvariantError(CliError):
    code = ExitCode.INVARIANT


class InconclusiveError(CliError):
    code = ExitCode.INCONCLUSIVE


class RollbackError(CliError):
    code = ExitCode.ROLLBACK


class RegressionError(CliError):
    code = ExitCode.REGRESSION


class ChangesFoundError(CliError):
    code = ExitCode.CHANGES_FOUND


class TimeoutExpiredError(CliError):
    code = ExitCode.TIMED_OUT
