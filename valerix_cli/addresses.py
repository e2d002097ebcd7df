"""Addresses of services: base URLs, paths, and whether a secret may be sent there. Pure."""

import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from valerix_cli.errors import BadUsageError

_BASE = re.compile(
    r"(?P<scheme>https?)://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::\d{1,5})?"
    r"(?:/[A-Za-z0-9._~/%-]*)?"
)
"""Base URLs that all URL parsers interpret alike: no user, no query, no backslash, no abbreviated IP address."""


def check_base_url(url: str) -> None:
    """Raise ValueError for an invalid base URL of a service."""
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError(f"{without_user(url)!r} holds a user or a password, which belong into no address")
    if not _BASE.fullmatch(url):
        raise ValueError(f"{url!r} is not an address such as https://orders.example or http://127.0.0.1:3001")


def path(*segments: str) -> str:
    """Return the path of a URL with these segments, percent-encoded.

    Raises BadUsageError for `.`, `..` and empty segments, which would change the path (RFC 3986, 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise BadUsageError(
                "Invalid name in a path.", f"{segment!r} is empty or a directory reference", "check the spelling"
            )
    return "".join(f"/{quote(segment, safe='', errors='surrogateescape')}" for segment in segments)


def is_loopback(url: str) -> bool:
    """Return whether a base URL is on this machine: `localhost`, or a loopback address (RFC 6890)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    import ipaddress  # noqa: PLC0415 - most hosts are named localhost or 127.0.0.1

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_the_clear(urls: Iterable[str]) -> str | None:
    """Return the first base URL that would send a secret unencrypted: plain HTTP to another machine."""
    return next((url for url in urls if not (url.lower().startswith("https://") or is_loopback(url))), None)


def past_proxies(urls: Iterable[str]) -> dict[str, None]:
    """Return httpx's `mounts` that bypass the environment's proxies for addresses on this machine."""
    return {f"all://{urlsplit(url).netloc.rpartition('@')[2]}": None for url in urls if is_loopback(url)}


def without_user(url: str) -> str:
    """Return the URL without user and password, for display."""
    return re.sub(r"//[^/?#]*@", "//…@", url)
