"""Checks of VALERIX_DATABASE_URL, the PostgreSQL that `valerix up` would use."""

from collections.abc import Iterator
from functools import partial

import psycopg

from valerix_cli.doctor import durability
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject, one_line
from valerix_cli.doctor.postgres import evaluate_version, reading
from valerix_cli.errors import BadUsageError
from valerix_cli.local.external import DATABASE_URL, address_of_database

_ABOUT = Subject("databases", DATABASE_URL)
_OTHERWISE = f"unset {DATABASE_URL}, to use the embedded one; or correct it"


def task(setup: Setup, url: str) -> CheckTask:
    return CheckTask(_ABOUT, partial(_task, setup, url), _OTHERWISE)


def _task(setup: Setup, url: str) -> Iterator[Finding]:
    try:
        host, port = address_of_database(url)
        with reading(url, setup.limits.answer) as conn:
            [(allowed,)] = conn.execute(
                "SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles WHERE rolname = current_user"
            ).fetchall()
            if allowed:
                yield evaluate_version(_ABOUT, conn.info.server_version, f"{host}:{port}")
            else:
                yield _ABOUT.failed(f"{conn.info.user} may not create roles and databases there.", _OTHERWISE)
            yield from durability.check(conn, "postgres")
    except BadUsageError as error:
        yield _ABOUT.failed(f"It is invalid: {one_line(error.why)}", _OTHERWISE)
    except psycopg.Error as error:
        yield _ABOUT.failed(f"It cannot be used: {one_line(error)}", _OTHERWISE)
