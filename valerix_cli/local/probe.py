"""Short questions to a service on this machine, by plain HTTP."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

PATIENCE = 2.0  # seconds


def ask(url: str, path: str, *, token: str | None = None) -> tuple[int, bytes] | None:
    """The status and body of GET `path`, or None where nobody answers in time."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def is_ready(url: str) -> bool:
    """Whether the service may take traffic."""
    answer = ask(url, "/health/ready")
    return answer is not None and answer[0] == 200  # noqa: PLR2004 - HTTP's OK
