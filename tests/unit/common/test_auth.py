"""The three access levels of the tokens, and the endpoints that each may use."""

import inspect

import httpx
import pytest

from services.common import rate_limit, request_body
from services.common.auth import Access, Guard, Level, only, operator_only, service_only
from services.common.refusals import Unauthorized
from tests.unit.common.bare_service import client, settings
from tests.unit.common.environment import TOKENS

SERVICE, NEXT_SERVICE, OPERATOR, NEXT_OPERATOR = TOKENS


async def knock(path: str, authorization: str | bytes | None) -> httpx.Response:
    headers = [] if authorization is None else [("Authorization", authorization)]
    async with client() as things:
        return await things.get(path, headers=headers)  # type: ignore[arg-type]  # bytes are headers too


@pytest.mark.parametrize(
    "guard",
    [
        only(Level.SERVICE),
        operator_only,
        service_only,
        request_body.json_only,
        request_body.ndjson_only,
        rate_limit.public,
    ],
)
def test_guards_use_no_thread(guard: Guard) -> None:
    assert inspect.iscoroutinefunction(guard)


@pytest.mark.parametrize(
    ("path", "public", "service", "operator"),
    [("/public", 200, 200, 200), ("/service", 401, 200, 403), ("/operator", 401, 403, 200), ("/either", 401, 200, 200)],
)
async def test_every_level_accesses_its_endpoints(path: str, public: int, service: int, operator: int) -> None:
    assert (await knock(path, None)).status_code == public
    for token in (SERVICE, NEXT_SERVICE):
        assert (await knock(path, f"Bearer {token}")).status_code == service
    for token in (OPERATOR, NEXT_OPERATOR):
        assert (await knock(path, f"Bearer {token}")).status_code == operator


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong-0123456789",
        f"Bearer {SERVICE}x",
        f"Bearer {SERVICE[:-1]}",
        f"Bearer {SERVICE.upper()}",
        f"Bearer {SERVICE} {OPERATOR}",
        f"Bearer {SERVICE},{NEXT_SERVICE}",
        f"Basic {OPERATOR}",
        OPERATOR,
        "Bearer *",
        b"Bearer \xff\xfe",
    ],
)
async def test_an_unknown_token_is_401_everywhere(authorization: str | bytes) -> None:
    async with client() as things:
        for path in ("/public", "/service", "/operator", "/either"):
            answer = await things.get(path, headers=[("Authorization", authorization)])  # type: ignore[arg-type]  # bytes are headers too
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == 'Bearer realm="valerix"'
            assert SERVICE not in answer.text


async def test_a_refusal_names_the_required_and_the_given_token_level() -> None:
    assert (await knock("/operator", None)).json()["detail"] == "This needs the operator token"
    refused = await knock("/operator", f"Bearer {SERVICE}")
    assert refused.json()["detail"] == "This needs the operator token, not the service one"
    assert "www-authenticate" not in refused.headers


@pytest.mark.parametrize("spelling", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(spelling: str) -> None:
    assert Access(settings()).level(f"{spelling} {SERVICE}") is Level.SERVICE


def test_a_request_without_a_header_is_public() -> None:
    assert Access(settings()).level(None) is Level.PUBLIC


def test_a_revoked_token_is_refused() -> None:
    during = Access(settings(OPERATOR_TOKENS=f"{OPERATOR},{NEXT_OPERATOR}"))
    after = Access(settings(OPERATOR_TOKENS=NEXT_OPERATOR))
    assert during.level(f"Bearer {OPERATOR}") is Level.OPERATOR
    assert during.level(f"Bearer {NEXT_OPERATOR}") is Level.OPERATOR
    assert after.level(f"Bearer {NEXT_OPERATOR}") is Level.OPERATOR
    with pytest.raises(Unauthorized):
        after.level(f"Bearer {OPERATOR}")
