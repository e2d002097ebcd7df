"""HEAD and OPTIONS on every path of every service, and 405 responses."""

import pytest

from tests.unit.common.services import SERVICES, Answer, application, ask, build, endpoints

PATHS = sorted({(endpoint.service, endpoint.path) for endpoint in endpoints()})
OTHERS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "-")


def methods_of(service: str, path: str) -> set[str]:
    """Return the methods that a path accepts according to the application's own handlers."""
    return {endpoint.method for endpoint in endpoints() if (endpoint.service, endpoint.path) == (service, path)}


def in_full(methods: set[str]) -> set[str]:
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def allow(answer: Answer) -> set[str]:
    return set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(("service", "path"), PATHS)
async def test_every_path_answers_options_with_its_allowed_methods(service: str, path: str) -> None:
    for headers in ([], [(b"accept", b"text/html")]):
        answer = await ask(build(service), "OPTIONS", path, headers)
        assert (answer.status, answer.body) == (204, b"")
        assert allow(answer) == in_full(methods_of(service, path))
        assert not {"content-type", "content-length"} & answer.headers.keys()
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(("service", "path"), PATHS)
async def test_every_other_method_is_405_with_the_allowed_ones(service: str, path: str) -> None:
    allowed = in_full(methods_of(service, path))
    for method in set(OTHERS) - allowed:
        answer = await ask(build(service), method, path)
        assert answer.status == 405, method
        assert allow(answer) == allowed, method
        assert answer.slug == ("method-not-allowed" if method != "HEAD" else None)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_path_that_does_not_exist_is_404_by_any_method(service: str) -> None:
    for method in (*OTHERS, "OPTIONS"):
        answer = await ask(build(service), method, "/nothing/here")
        assert answer.status == 404, method
        assert bool(answer.body) == (method != "HEAD")


def test_every_application_has_a_path() -> None:
    for service in SERVICES:
        assert len(application(build(service)).routes) > 3
