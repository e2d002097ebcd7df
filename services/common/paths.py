"""Paths of URLs, put together from values. Pure."""

from urllib.parse import quote


def path(*segments: str) -> str:
    """Return the path of a URL that has these segments, whatever characters they are of.

    Raises ValueError for `.`, `..` and nothing at all, which would make another path of it (RFC 3986, 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise ValueError(f"{segment!r} is no segment of a path")
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
