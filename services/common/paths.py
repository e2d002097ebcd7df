"""Paths of URLs from values. Pure."""

from urllib.parse import quote


def path(*segments: str) -> str:
    """Return the path of a URL with these segments, percent-encoded.

    Raises ValueError for `.`, `..` and empty segments, which would change the path (RFC 3986, 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise ValueError(f"{segment!r} is no segment of a path")
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
