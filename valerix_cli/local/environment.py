"""Selects the environment variables that processes of the platform inherit: only those that they need.

Others (credentials, variables of the dynamic loader or libpq) would stay in each process for its lifetime.
"""

import os
from collections.abc import Mapping, MutableMapping

NAMES = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE", "PYTHONUTF8"),
        *("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONFAULTHANDLER", "PYTHONHASHSEED"),
        *("PYTHONMALLOC", "PYTHONTRACEMALLOC", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"),
    }
)
PREFIXES = ("LC_", "OTEL_")  # the locale; where traces are sent: see services.common.tracing
_LIBPQ, _OURS = "PG", "VALERIX_"


def needed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a service inherits; its own settings are added."""
    return {name: value for name, value in environ.items() if name in NAMES or name.startswith(PREFIXES)}


def needed_by_supervisor(environ: Mapping[str, str]) -> dict[str, str]:
    """The same with our own settings, for a supervisor in the background."""
    return needed(environ) | {name: value for name, value in environ.items() if name.startswith(_OURS)}


def forget_libpq(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove what libpq reads (PGHOST, PGSERVICE, PGSSLMODE, PGOPTIONS …): see its "Environment Variables".

    Where a connection of ours leads, and how, is in its connection string alone. libpq lets several variables add to
    that, and PGHOSTADDR even replace the host in it.
    """
    for name in [name for name in environ if name.startswith(_LIBPQ)]:
        del environ[name]
