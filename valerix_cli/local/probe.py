"""Short questions to a service on this machine, by plain HTTP."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import msgspec

from valerix_cli.addresses import is_loopback

PATIENCE = 2.0  # seconds


def ask(url: str, path: str, *, token: str | None = None) -> tuple[int, bytes] | None:
    """The status and body of GET `path`, or None where nobody answers in time; a token goes to this machine only."""
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
    """Whether process `pid` answers there and may take traffic: another platform may have its port."""
    answer = ask(url, path)
    if answer is None or answer[0] != 200:  # noqa: PLR2004 - HTTP's OK
        return False
    try:
        return msgspec.json.decode(answer[1], type=_Health).pid == pid
    except msgspec.DecodeError:  # somebody else altogether
        return False
