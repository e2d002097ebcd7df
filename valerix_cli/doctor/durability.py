"""Checks that acknowledged commits are on disk, which the guarantees require (docs/guarantees.md)."""

from collections.abc import Iterator

from valerix_cli.audit.queries.databases import Connection
from valerix_cli.doctor.findings import Finding, Subject

_OFF = "^synchronous_commit=(off|false|no|0)$"


def check(conn: Connection, database: str) -> Iterator[Finding]:
    """Yield a warning for each setting that disables durability, globally or for a role; or one positive finding."""
    about = Subject("databases", f"{database} durability")
    lax = [*_settings_off(conn), *_roles_off(conn)]
    for name, scope in lax:
        yield about.warning(
            f"{name} is off ({scope}): a power failure may lose acknowledged orders.", again(name, scope)
        )
    if not lax:
        yield about.ok("Commits are durable before they are acknowledged.")


def again(name: str, scope: str) -> str:
    """Return how to turn the setting on again: `scope` is a source in pg_settings, or `ROLE name`."""
    if scope.startswith(("ROLE ", "DATABASE ")):
        return _psql(f"ALTER {scope} RESET {name}")
    if scope == "command line":
        return f"start that PostgreSQL without -c {name}=off"
    return f'{_psql(f"ALTER SYSTEM SET {name} = on")} -c "SELECT pg_reload_conf()"'


def _psql(statement: str) -> str:
    return f'psql "$VALERIX_DATABASE_URL" -c "{statement}"'


def _settings_off(conn: Connection) -> list[tuple[str, str]]:
    rows = conn.execute(
        "SELECT name, CASE source WHEN 'database' THEN 'DATABASE ' || current_database() ELSE source END"
        " FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'"
    )
    return [(name, scope) for name, scope in rows]


def _roles_off(conn: Connection) -> list[tuple[str, str]]:
    rows = conn.execute(
        "SELECT 'synchronous_commit', 'ROLE ' || rolname FROM pg_db_role_setting"
        " JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS setting"
        " WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"
        " AND setting ~ %s ORDER BY rolname",
        [_OFF],
    )
    return [(name, scope) for name, scope in rows]
