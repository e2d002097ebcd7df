"""The request object of the direct route: Litestar's, without unused parts."""

from typing import Any, cast

from litestar import Request
from litestar.types import HTTPScope

from services.common.fast_route import _Request

HEADERS = [(b"host", b"localhost"), (b"x-name", b"caf\xe9"), (b"x-name", b"two")]


def scope() -> HTTPScope:
    return cast(
        "HTTPScope",
        {
            "type": "http",
            "method": "POST",
            "path": "/things",
            "query_string": b"size=3",
            "headers": list(HEADERS),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        },
    )


def test_the_fast_routes_headers_match_those_of_the_framework() -> None:
    expected = Request[Any, Any, Any](scope()).headers
    assert list(_Request(scope()).headers.items()) == list(expected.items())
    assert _Request(scope()).headers.getall("X-Name") == ["caf\xe9", "two"]


def test_lazily_initialized_attributes_exist_on_access() -> None:
    request = _Request(scope())
    assert request.method == "POST"
    assert request.query_params.dict() == {"size": ["3"]}
    assert str(request.url) == "http://localhost/things?size=3"


def test_an_unknown_attribute_is_missing_and_does_not_initialize_again() -> None:
    request = _Request(scope())
    request.is_connected = not request.is_connected
    assert not hasattr(request, "nothing")
    assert not request.is_connected
