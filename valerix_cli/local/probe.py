"""Minimal HTTP requests to a service on this machine."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import msgspec

from valerix_cli.addresses import is_loopback

PATIENCE = 2.0  # seconds


def ask(url: str, path: str, *, token: str | None = None) -> tuple[int, bytes] | None:
    """Return the status and body of GET `path`; None without a response in time.

    A token is sent to this machine only.
    """
    where = urlsplit(url)
    if token is not None and not is_loopback(url):
        return None
    connection = HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


class _Health(msgspec.Struct, frozen=True):
    pid: int


def is_ready(url: str, pid: int, path: str = "/health/ready") -> bool:
    """Return whether process `pid` responds there and is ready: another platform may have its port."""
    answer = ask(url, path)
    if answer is None or answer[0] != 200:  # noqa: PLR2004 - HTTP's OK
        return False
    try:
        return msgspec.json.decode(answer[1], type=_Health).pid == pid
    except msgspec.DecodeError:  # another server
        return False
