"""The host names that a service is responsible for, and the web pages that may send changes to it.

A page that rebinds its own DNS name to one of our addresses always sends that name as Host. So addresses and loopback
names are allowed, since no attacker's page has such a name. Other names are allowed if a setting lists them.

Refusal
├── InvalidHost (400)       no Host, two, a malformed one, or one that the request's target contradicts
├── UnknownHost (421)       a name that is not allowed
└── CrossOrigin (403)       a change requested by a web page of another origin
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sized
from typing import Annotated, NamedTuple

import msgspec
from litestar.types import HTTPScope

from services.common.refusals import Refusal

HostPattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)$(?!\n)", description="a host, a .domain, or * for any"
    ),
]
"""A name, `.example.com` for all names below it, or `*` for any."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_PAGES = (b"same-origin", b"none")  # `Sec-Fetch-Site` of our own pages, and of a user without a page

_PORT = {b"http": 80, b"https": 443}
_AUTHORITY = re.compile(
    rb"(\[[0-9A-Za-z:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?", re.ASCII
)
_TARGET = re.compile(rb"(https?)://([^/?#]*)([/?].*)?", re.IGNORECASE | re.DOTALL)
_KNOWN_LIMIT = 256  # number of Host values to cache as allowed


class InvalidHost(Refusal):
    slug, status, title = "invalid-host", 400, "The request does not name one host"


class UnknownHost(Refusal):
    slug, status, title = "misdirected-request", 421, "This service does not serve that host"


class CrossOrigin(Refusal):
    slug, status, title = "cross-origin", 403, "A web page of another origin may not change anything here"


class Authority(NamedTuple):
    """A host in lower case without a final dot, and its port, if there is one."""

    host: str
    port: int | None

    def is_at(self, other: "Authority", default_port: int) -> bool:
        """True if both name the same host and port; a missing port is the scheme's default."""
        return self.host == other.host and (self.port or default_port) == (other.port or default_port)


class HostPolicy:
    """Decides whether a request is for this service, and whether a web page of another origin has sent it."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        patterns = [pattern.lower() for pattern in allowed]
        self._any = "*" in patterns
        self._names = frozenset(patterns)
        self._suffixes = (".localhost", *(pattern for pattern in patterns if pattern.startswith(".")))
        self._known: set[bytes | None] = set()

    def refusal(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Return why the request is refused, None if it is not. `headers` has the last value of each name."""
        sent: Sized = scope["headers"]  # type: ignore[assignment]  # an iterable to Litestar, a list from every server
        is_change = (b"origin" in headers or b"sec-fetch-site" in headers) and scope["method"] not in SAFE
        # With as many names as lines, no header is repeated, so there is a single Host.
        is_known = headers.get(b"host") in self._known and len(headers) == len(sent) and "target" not in scope
        if is_known and not is_change:
            return None
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        try:
            if len(hosts) != 1 or hosts[0] not in self._known or "target" in scope:
                self._check_host(hosts, scope)
            if is_change:
                _check_origin(hosts, scope)
        except Refusal as refusal:
            return refusal
        return None

    def _check_host(self, hosts: list[bytes], scope: HTTPScope) -> None:
        """Check Host by RFC 9112, 3.2. Without it only HTTP/1.0 is served: no browser uses it."""
        target = _target_authority(scope)
        if not hosts and scope["http_version"] == "1.0":
            if target is not None:
                self._check_allowed(target)
            return
        if len(hosts) != 1:
            raise InvalidHost(f"Send one Host header, not {len(hosts)}")
        authority = parse_authority(hosts[0])
        if authority is None:
            raise InvalidHost("Send Host: NAME or NAME:PORT")
        if target is not None and not target.is_at(authority, 80):
            raise InvalidHost("The request's target and its Host header name different hosts")
        self._check_allowed(authority)
        if len(self._known) >= _KNOWN_LIMIT:
            self._known.clear()
        self._known.add(hosts[0])

    def _check_allowed(self, authority: Authority) -> None:
        host = authority.host
        if self._any or host == "localhost" or host in self._names or host.endswith(self._suffixes) or _is_ip(host):
            return
        raise UnknownHost(f"List {host} in VALERIX_ALLOWED_HOSTS, if it is a name of this service", host=host)


def parse_authority(raw: bytes) -> Authority | None:
    """Return the host and port in `raw` (RFC 3986, 3.2), None if it is malformed."""
    found = _AUTHORITY.fullmatch(raw)
    if found is None:
        return None
    host, port = found[1].decode("ascii").lower(), int(found[2]) if found[2] else None
    if host.startswith("["):
        if not _is_ip(host):
            return None
        host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
    host = host.removesuffix(".")
    if not host or (port is not None and not 0 < port < 2**16):
        return None
    return Authority(host, port)


def origin_form(target: bytes) -> bytes:
    """Return the path and query of a request's target (RFC 9112, 3.2); `*` becomes the path `/*`."""
    if target == b"*":
        return b"/*"
    absolute = _TARGET.fullmatch(target)
    if absolute is None:
        return target
    path = absolute[3] or b"/"
    return path if path.startswith(b"/") else b"/" + path


def _target_authority(scope: HTTPScope) -> Authority | None:
    """Return the host of an absolute target; None for a target without one. Raises InvalidHost."""
    target: bytes | None = scope.get("target")  # type: ignore[assignment]  # our protocol's own, beside what ASGI has
    if target is None or target == b"*":
        return None
    absolute = _TARGET.fullmatch(target)
    authority = parse_authority(absolute[2]) if absolute else None
    if authority is None:
        raise InvalidHost("The request's target is malformed")
    return authority


def _check_origin(hosts: list[bytes], scope: HTTPScope) -> None:
    """Raise CrossOrigin for a request that a browser sends for a page of another origin."""
    sites = [value for name, value in scope["headers"] if name == b"sec-fetch-site"]
    if any(site not in OWN_PAGES for site in sites):
        raise CrossOrigin("The browser says that a page of another site asks for it")
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not origins:
        return
    host = parse_authority(hosts[0]) if len(hosts) == 1 else None
    scheme, _, authority = origins[0].partition(b"://")
    origin = parse_authority(authority)
    default_port = _PORT.get(scheme.lower())
    if (
        len(origins) > 1
        or host is None
        or origin is None
        or default_port is None
        or not origin.is_at(host, default_port)
    ):
        raise CrossOrigin("The Origin header names another origin than the Host header")


def _is_ip(host: str) -> bool:
    """Return whether `host` is an address: four decimal numbers, or an IPv6 address in brackets."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
