"""Isolation of a test run from its starter: ignored signals, a closed standard input, environment variables.

Tests of Valerix under such conditions create them explicitly.
"""

import os
import signal
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

OWN = frozenset({"VALERIX_IMAGE", "VALERIX_STORIES", "VALERIX_STORY_STEPS", "VALERIX_STORY_SEED"})
"""Settings of tests, not of Valerix."""
PREFIXES = ("PG", "VALERIX_", "AUDIT_", "OTEL_", "LC_")
NAMES = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"),
        *("COLUMNS", "LINES", "TERM", "TEXTUAL", "LANG", "LANGUAGE", "TZ", "KUBECONFIG", "REDISCLI_AUTH"),
        *("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONIOENCODING", "PYTHONUNBUFFERED"),
        *("PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONSAFEPATH", "PYTHONHASHSEED"),
    }
)
FIXED = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
_OF_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}  # Python ignores these itself, and resets them for children


def settle() -> None:
    """Make this process, and so every process that a test starts, independent of its starter."""
    settle_variables(os.environ)
    restore_signals()
    open_input()


def settle_variables(environ: MutableMapping[str, str]) -> None:
    for name in [name for name in environ if name not in OWN and is_dropped(name)]:
        del environ[name]
    environ.update(FIXED)


def is_dropped(name: str) -> bool:
    return name.startswith(PREFIXES) or name.upper() in NAMES


def restore_signals() -> None:
    """Give children the default action of every signal, as a shell in a terminal does.

    SIGINT interrupts the tests as usual. Any other ignored signal (SIGHUP under nohup) still has no effect on this
    process: it gets a handler, which children do not inherit, unlike an ignored signal.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _OF_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            with suppress(OSError):  # cannot be handled, like those that the C library reserves
                signal.signal(number, _HANDLERS.get(number, _nothing))


def open_input() -> None:
    """Open the null device as standard input if it is closed: the next file opened would get its number."""
    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)  # the lowest free number


def _nothing(*_: object) -> None: ...


_HANDLERS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGCHLD: signal.SIG_DFL}
