"""Every failure gets one problem document, without internal details."""

import io
from typing import Any

import httpx
import pytest
from litestar.types import Message

from tests.unit.common.bare_service import SECRET, build, client
from tests.unit.common.logs import events


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return the status and slug of a response, after checking that it is a complete problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"] != ""
    assert document["instance"] == f"urn:valerix:request:{document['request_id']}"
    assert document["title"]
    assert document["detail"]
    return response.status_code, document["type"].removeprefix("urn:valerix:problem:")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not-found")),
        ("GET", "/", (404, "not-found")),
        ("GET", "/things/7/8", (404, "not-found")),
        ("GET", "/things/seven", (404, "not-found")),
        ("DELETE", "/things/7", (405, "method-not-allowed")),
        ("GET", "/things/7?size=many", (400, "invalid-request")),
        ("GET", "/fail/refusal", (429, "rate-limited")),
        ("GET", "/fail/operational", (503, "database-unavailable")),
        ("GET", "/fail/interface", (503, "database-unavailable")),
        ("GET", "/fail/pool", (503, "database-unavailable")),
        ("GET", "/fail/data", (500, "internal-error")),
        ("GET", "/fail/bug", (500, "internal-error")),
        ("GET", "/fail/key", (500, "internal-error")),
        ("GET", "/status/400", (400, "invalid-request")),
        ("GET", "/status/404", (404, "not-found")),
        ("GET", "/status/405", (405, "method-not-allowed")),
        ("GET", "/status/413", (413, "body-too-large")),
        ("GET", "/status/418", (500, "internal-error")),
        ("GET", "/status/500", (500, "internal-error")),
        ("GET", "/status/503", (500, "internal-error")),
        ("GET", "/service", (401, "unauthorized")),
    ],
)
async def test_every_error_has_its_problem_type(method: str, path: str, expected: tuple[int, str]) -> None:
    async with client() as things:
        assert problem(await things.request(method, path)) == expected


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b'{"name":"x","count":"1"}', JSON, (422, "invalid-body")),
        (b'{"name":"x"}', JSON, (422, "invalid-body")),
        (b'{"name":"x","count":1,"more":1}', JSON, (422, "invalid-body")),
        (b'{"name":"x","count":1', JSON, (422, "invalid-body")),
        (b'{"name":"\xff","count":1}', JSON, (422, "invalid-body")),
        (b"", JSON, (422, "invalid-body")),
        (b"[" * 60_000, JSON, (422, "invalid-body")),
        (b'{"name":"x","count":1}' + b" " * 65_536, JSON, (413, "body-too-large")),
        (b'{"name":"x","count":1}', {}, (415, "unsupported-media-type")),
        (b'{"name":"x","count":1}', {"Content-Type": "text/plain"}, (415, "unsupported-media-type")),
        (b'{"name":"x","count":1}', {"Content-Type": "application/json-patch"}, (415, "unsupported-media-type")),
    ],
)
async def test_every_bad_body_has_its_problem_type(
    content: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async with client() as things:
        assert problem(await things.post("/things", content=content, headers=headers)) == expected


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
async def test_a_valid_body_is_accepted(media_type: str) -> None:
    async with client() as things:
        answer = await things.post("/things", content=b'{"name":"x","count":1}', headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()) == (200, {"name": "x", "count": 1})


async def test_a_body_of_exactly_the_limit_is_accepted() -> None:
    good = b'{"name":"x","count":1}'
    async with client() as things:
        answer = await things.post("/things", content=good + b" " * (65_536 - len(good)), headers=JSON)
    assert answer.status_code == 200


async def test_an_invalid_body_gets_the_path_of_the_error() -> None:
    async with client() as things:
        answer = await things.post("/things", content=b'{"name":"x","count":"1"}', headers=JSON)
    assert "`count`" in answer.json()["detail"]


async def test_a_refusal_has_its_members_and_headers() -> None:
    async with client() as things:
        answer = await things.get("/fail/refusal")
    assert answer.headers["retry-after"] == "7"
    document = answer.json()
    assert (document["title"], document["detail"]) == ("Too many requests", "There are 3")
    assert (document["there"], document["names"]) == (3, ["a"])


async def test_an_outage_has_a_retry_after() -> None:
    async with client() as things:
        assert (await things.get("/fail/pool")).headers["retry-after"] == "1"


async def test_an_unknown_method_gets_the_allowed_ones() -> None:
    async with client() as things:
        assert "GET" in (await things.delete("/things/7")).headers["allow"]


@pytest.mark.parametrize("path", ["/fail/bug", "/fail/key", "/status/500"])
async def test_a_bug_is_answered_without_details(path: str) -> None:
    async with client() as things:
        answer = await things.get(path, headers={"X-Request-ID": "request-7"})
    assert problem(answer) == (500, "internal-error")
    assert answer.json()["request_id"] == "request-7"
    for word in (SECRET, "Traceback", "RuntimeError", "KeyError", ".py"):
        assert word not in answer.text


async def test_a_bug_is_logged_with_its_traceback_and_the_request_id_but_without_the_body(log: io.StringIO) -> None:
    async with client() as things:
        await things.post("/broken", content=SECRET, headers={"X-Request-ID": "request-7"})
    logged, noted = events(log)
    assert "RuntimeError: could not digest 16 bytes" in logged["exception"]
    assert logged["request_id"] == noted["request_id"] == "request-7"
    assert (noted["route"], noted["status"]) == ("/broken", 500)
    assert SECRET not in log.getvalue()


async def test_client_errors_are_not_logged(log: io.StringIO) -> None:
    async with client() as things:
        await things.post("/things", content=SECRET, headers=JSON)
        await things.get(f"/{SECRET}")
        await things.get("/operator", headers={"Authorization": f"Bearer {SECRET}"})
    assert log.getvalue() == ""


async def test_head_and_options_are_answered_too() -> None:
    async with client() as things:
        assert (await things.head("/nothing")).status_code == 404
        assert (await things.options("/things")).status_code == 204


async def test_a_disconnect_during_the_body_is_not_logged_as_a_bug(log: io.StringIO) -> None:
    sent: list[Message] = []
    incoming: list[Any] = [
        {"type": "http.request", "body": b'{"name":', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async with client() as opened:
        request = opened.build_request("POST", "/things", headers={"Content-Type": "application/json"}, content=b"{}")
    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/things",
        "raw_path": b"/things",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("things", 80),
    }
    await build()(scope, receive, send)
    assert sent[0]["type"] == "http.response.start"
    assert sent[0]["status"] == 400
    assert log.getvalue() == ""
