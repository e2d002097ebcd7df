"""Selection of the environment variables that processes of the platform inherit: only those that they need.

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
PREFIXES = ("LC_", "OTEL_")  # locale; trace export: see services.common.tracing
_LIBPQ, _OURS = "PG", "VALERIX_"


def needed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a service inherits; its own settings are added."""
    return {name: value for name, value in environ.items() if name in NAMES or name.startswith(PREFIXES)}


def needed_by_supervisor(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a background supervisor inherits: those of a service, and Valerix's own."""
    return needed(environ) | {name: value for name, value in environ.items() if name.startswith(_OURS)}


def forget_libpq(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove libpq's variables (PGHOST, PGSERVICE, PGSSLMODE, PGOPTIONS …): see its "Environment Variables".

    The parameters of our connections are in their connection strings alone. libpq would add several variables to them,
    and PGHOSTADDR even replaces the host.
    """
    for name in [name for name in environ if name.startswith(_LIBPQ)]:
        del environ[name]
