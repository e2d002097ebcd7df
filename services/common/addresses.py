"""Addresses of clients: a canonical spelling, and the network that counts as one client."""

import functools
import ipaddress
import re
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST = 80  # characters of an address with brackets, zone and port
REMEMBERED = 4096  # texts: most requests come from few clients

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # otherwise all IPv4 clients would be one /64
# A port may be obfuscated: RFC 7239, 6.
_NODE = re.compile(r"\[(?P<ipv6>[^\]]+)\](?::[\w.-]+)?|(?P<ipv4>[0-9.]+)(?::[\w.-]+)?|(?P<bare>[0-9A-Fa-f:.]+(?:%.+)?)")


def canonical(text: str) -> str | None:
    """Return the canonical spelling of the address in `text`; None if it is not an address."""
    return _canonical(text) if len(text) <= LONGEST else None  # longer texts are not worth caching


@functools.lru_cache(REMEMBERED)
def _canonical(text: str) -> str | None:
    address = parse(text)
    return None if address is None else str(address)


def parse(text: str) -> Address | None:
    """Return the address in `text`, optionally in brackets or quotes, with a port or a zone; None if there is none.

    An IPv4-mapped address (RFC 4291, 2.5.5.2) becomes the IPv4 address, and so does one of NAT64 (RFC 6052).
    """
    found = _NODE.fullmatch(text.strip(' \t"')) if len(text) <= LONGEST else None
    if found is None:
        return None
    try:
        if found["ipv4"] is not None:
            return ipaddress.IPv4Address(found["ipv4"])
        address = ipaddress.IPv6Address((found["ipv6"] or found["bare"]).partition("%")[0])
    except ValueError:
        return None
    return ipaddress.IPv4Address(int(address) & 2**32 - 1) if address in _NAT64 else address.ipv4_mapped or address


def network_of(text: str) -> str:
    """Return the network of one client: an IPv4 address, or the /64 of an IPv6 one. Other texts are unchanged."""
    return _network_of(text[: LONGEST + 1])


@functools.lru_cache(REMEMBERED)
def _network_of(text: str) -> str:
    address = parse(text)
    if address is None:
        return text[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
