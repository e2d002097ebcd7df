"""The hosts that each service accepts, and the limits for pages of other origins, on every path."""

import pytest

from services.common.settings import SettingsError
from tests.unit.common.services import SERVICES, Endpoint, Lines, ask, build, endpoints

UNROUTED = [Endpoint(service, method, "", "/nothing/here") for service in SERVICES for method in ("GET", "POST")]
EVERYWHERE = [*endpoints(), *UNROUTED]
CHANGES = [endpoint for endpoint in EVERYWHERE if endpoint.method != "GET"]
OF_HOSTS = {"invalid-host", "misdirected-request", "cross-origin"}


@pytest.mark.parametrize("endpoint", EVERYWHERE, ids=str)
async def test_no_path_is_served_for_a_disallowed_host(endpoint: Endpoint) -> None:
    edge = build(endpoint.service)
    for host in (b"evil.example", b"evil.example:3001", b"LOCALHOST.evil.example", b"127.0.0.1.evil.example"):
        answer = await ask(edge, endpoint.method, endpoint.path, host=host)
        assert (answer.status, answer.slug) == (421, "misdirected-request")
        assert b"VALERIX_ALLOWED_HOSTS" in answer.body
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("endpoint", EVERYWHERE, ids=str)
async def test_no_path_is_served_without_one_well_formed_host(endpoint: Endpoint) -> None:
    edge = build(endpoint.service)
    twice: Lines = [(b"host", b"localhost"), (b"host", b"localhost")]
    for host, more in (
        (None, []),
        (None, twice),
        (b"", []),
        (b"localhost:http", []),
        (b"a b", []),
        (b"u@localhost", []),
    ):
        answer = await ask(edge, endpoint.method, endpoint.path, more, host=host)
        assert (answer.status, answer.slug) == (400, "invalid-host"), host


@pytest.mark.parametrize("endpoint", CHANGES, ids=str)
async def test_a_cross_origin_request_changes_nothing(endpoint: Endpoint) -> None:
    edge = build(endpoint.service)
    theirs: list[Lines] = [
        [(b"origin", b"http://evil.example")],
        [(b"origin", b"null")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site"), (b"origin", b"http://localhost")],
    ]
    for headers in theirs:
        answer = await ask(edge, endpoint.method, endpoint.path, headers)
        assert (answer.status, answer.slug) == (403, "cross-origin"), headers
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"LocalHost:3001", b"localhost.", b"localhost.:80", b"a.localhost", b"localhost:"),
        *(b"127.0.0.1", b"127.0.0.1:3001", b"10.42.0.7:3001", b"8.8.8.8", b"[::1]", b"[::1]:3001", b"[2001:DB8::1]"),
        *(b"[::ffff:127.0.0.1]:3001",),
    ],
)
async def test_addresses_and_loopback_names_are_always_allowed(host: bytes) -> None:
    answer = await ask(build("order"), "GET", "/health/live", host=host)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "slug"),
    [
        *((name, "misdirected-request") for name in (b"order", b"xlocalhost", b"localhost.evil.example", b"127.1")),
        *((name, "misdirected-request") for name in (b"0x7f.0.0.1", b"2130706433", b"127.0.0.01", b"loc%61lhost")),
        *((name, "misdirected-request") for name in (b"1.2.3.4.5", b"localhost..", b"localhost,localhost")),
        *(
            (name, "invalid-host")
            for name in (b"[::1", b"::1", b"[::1]x", b"[::1%25eth0]", b"[fe80::1%eth0]", b"[1.2.3.4]")
        ),
        *((name, "invalid-host") for name in (b"localhost:65536", b"localhost:0", b"localhost:-1", b"localhost:80:80")),
        *((name, "invalid-host") for name in (b"http://localhost", b"localhost/", b"local host")),
        *(
            (name, "invalid-host")
            for name in (b"loc\xc3\xa4lhost", b"localhost\x00", b".", b":3001", b"%zz", b"localhost#")
        ),
        *((name, "invalid-host") for name in (b"localhost\n", b"localhost:1\n", b"localhost:\xd9\xa1", b"[v1.a]")),
    ],
)
async def test_every_other_host_is_refused(host: bytes, slug: str) -> None:
    answer = await ask(build("order"), "GET", "/health/live", host=host)
    assert answer.slug == slug


@pytest.mark.parametrize(
    ("setting", "host", "allowed"),
    [
        ("order,shop.example.com", b"order:3001", True),
        ("order,shop.example.com", b"SHOP.Example.COM.:443", True),
        ("order", b"shop.example.com", False),
        ("Order", b"order", True),
        (".example.com", b"a.b.example.com", True),
        (".example.com", b"example.com", False),
        (".example.com", b"evil-example.com", False),
        (".example.com", b"example.com.evil.example", False),
        ("*", b"evil.example", True),
    ],
)
async def test_other_names_are_allowed_by_a_setting(setting: str, host: bytes, allowed: bool) -> None:  # noqa: FBT001 - a table's column
    answer = await ask(build("order", ALLOWED_HOSTS=setting), "GET", "/health/live", host=host)
    assert answer.status == (200 if allowed else 421)


@pytest.mark.parametrize("setting", ["http://order", "order:3001", "*.example.com", "a b", ".", "a..b", "[::1]", "a/b"])
def test_a_setting_that_no_host_could_match_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="VALERIX_ALLOWED_HOSTS"):
        build("order", ALLOWED_HOSTS=setting)


async def test_any_host_is_allowed_by_a_star_but_not_a_malformed_one() -> None:
    assert (await ask(build("order", ALLOWED_HOSTS="*"), "GET", "/health/live", host=b"a b")).status == 400


async def test_http_1_0_may_omit_the_host_but_not_send_a_bad_one() -> None:
    edge = build("order")
    assert (await ask(edge, "GET", "/health/live", host=None, http_version="1.0")).status == 200
    assert (await ask(edge, "GET", "/health/live", host=b"evil.example", http_version="1.0")).status == 421
    twice: Lines = [(b"host", b"localhost")]
    assert (await ask(edge, "GET", "/health/live", twice, http_version="1.0")).status == 400


async def test_a_host_is_still_refused_once_thousands_were_seen() -> None:
    edge = build("order")
    for number in range(1000):
        assert (await ask(edge, "GET", "/health/live", host=b"127.0.0.1:%d" % (number + 1))).status == 200
    assert (await ask(edge, "GET", "/health/live", host=b"evil.example")).status == 421


@pytest.mark.parametrize(
    ("host", "headers", "allowed"),
    [
        (b"localhost:3001", [], True),
        (b"localhost:3001", [(b"origin", b"http://localhost:3001")], True),
        (b"LOCALHOST:3001", [(b"origin", b"http://localhost:3001"), (b"sec-fetch-site", b"same-origin")], True),
        (b"localhost:3001", [(b"sec-fetch-site", b"none")], True),
        (b"localhost", [(b"origin", b"https://localhost")], True),  # TLS ends at a proxy
        (b"localhost:443", [(b"origin", b"https://localhost")], True),
        (b"localhost:80", [(b"origin", b"http://localhost")], True),
        (b"[::1]:3001", [(b"origin", b"http://[0:0::1]:3001")], True),
        (b"localhost:80", [(b"origin", b"https://localhost")], False),
        (b"localhost:3001", [(b"origin", b"http://localhost:3000")], False),  # a page of another program
        (b"localhost:3001", [(b"origin", b"http://127.0.0.1:3001")], False),
        (b"localhost:3001", [(b"origin", b"http://localhost")], False),
        (b"localhost:3001", [(b"origin", b"http://a.localhost:3001")], False),
        (b"localhost:3001", [(b"origin", b"null"), (b"sec-fetch-site", b"same-origin")], False),
        (b"localhost:3001", [(b"origin", b"")], False),
        (b"localhost:3001", [(b"origin", b"localhost:3001")], False),
        (b"localhost:3001", [(b"origin", b"file://")], False),
        (b"localhost:3001", [(b"origin", b"chrome-extension://localhost:3001")], False),
        (b"localhost:3001", [(b"origin", b"http://localhost:3001/")], False),
        (b"localhost:3001", [(b"origin", b"http://localhost:3001 http://evil.example")], False),
        (b"localhost:3001", [(b"origin", b"http://evil.example"), (b"origin", b"http://localhost:3001")], False),
        (b"localhost:3001", [(b"origin", b"http://localhost:3001"), (b"origin", b"http://localhost:3001")], False),
        (b"localhost:3001", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"none")], False),
        (b"localhost:3001", [(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], False),
        (b"localhost:3001", [(b"sec-fetch-site", b"Same-Origin")], False),
        (b"localhost:3001", [(b"sec-fetch-site", b"")], False),
    ],
)
async def test_programs_and_same_origin_pages_may_make_changes(host: bytes, headers: Lines, allowed: bool) -> None:  # noqa: FBT001 - a table's column
    answer = await ask(build("order"), "POST", "/api/admin/breaker", headers, host=host)
    assert (answer.status, answer.slug) == ((401, "unauthorized") if allowed else (403, "cross-origin"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_cross_origin_page_may_send_reads_but_not_see_the_response(method: str) -> None:
    headers: Lines = [
        (b"origin", b"http://evil.example"),
        (b"sec-fetch-site", b"cross-site"),
        (b"access-control-request-method", b"POST"),
    ]
    answer = await ask(build("order"), method, "/api/orders", headers)
    assert answer.slug not in OF_HOSTS
    assert not [name for name in answer.headers if name.startswith("access-control-")]
