"""External servers: their addresses, and whether they can be used."""

from urllib.parse import urlsplit

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.reasons import why

DATABASE_URL = "VALERIX_DATABASE_URL"
REDIS_URL = "VALERIX_REDIS_URL"


def address_of_database(url: str) -> tuple[str, int]:
    """Return host and port of a PostgreSQL connection string. Raises BadUsageError if it is invalid."""
    import psycopg  # noqa: PLC0415 - loaded when needed: it takes a quarter of a second

    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise BadUsageError(
            f"{DATABASE_URL} is invalid.", why(error), "write postgresql://user:password@host:5432/postgres"
        ) from error
    return str(parts.get("host") or "localhost"), int(parts.get("port") or 5432)


def reach_redis(url: str) -> tuple[str, int]:
    """Return host and port of a Redis, after a PING. Raises BadUsageError for an invalid URL, UnreachableError."""
    from redis import Redis, RedisError  # noqa: PLC0415 - only an external Redis needs it
    from redis.backoff import NoBackoff  # noqa: PLC0415 - the same
    from redis.retry import Retry  # noqa: PLC0415 - the same

    try:
        client = Redis.from_url(url, socket_timeout=3, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        raise BadUsageError(f"{REDIS_URL} is invalid.", why(error), "write redis://host:6379/0") from error
    try:
        client.ping()
    except RedisError as error:
        raise UnreachableError(
            f"The Redis of {REDIS_URL} cannot be used.", why(error), f"correct {REDIS_URL}, or unset it for our own"
        ) from error
    finally:
        client.close()
    where = urlsplit(url)
    return where.hostname or "localhost", where.port or 6379
