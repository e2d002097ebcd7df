"""Arbitrary bytes on every route never cause a 500. Routes and fields are those of the application."""

import base64
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec
import pytest
from _pytest.mark.structures import ParameterSet
from litestar import Litestar
from litestar.routes import HTTPRoute

from services.common.settings import read
from services.frontend import actions
from services.frontend.app import build
from services.frontend.operator_actions import ChaosForm
from services.frontend.settings import FrontendSettings
from tests.integration.frontend.conftest import NOBODY, PASSWORD, Dashboard, form_token, is_operator, sign_in
from tests.processes import OPERATOR_TOKEN

pytestmark = pytest.mark.usefixtures("no_traceback")

VALUES = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe\x80",
    "UTF-8": "é\u202e中😀".encode(),
    "half a pair": b"\xed\xa0\x80",
    "control": b"a\x01\x0b\x1b[2J",
    "NUL": b"a\x00b",
    "quotes": b"\"'`<img src=x onerror=alert(1)>",
    "half quoted": b'"\\',
    "percent": b"%",
    "percent not UTF-8": b"%ff%00%ed%a0%80",
    "digits of another script": "٣²".encode(),
    "negative": b"-1",
    "huge number": b"9" * 400,
    "not a number": b"nan",
    "infinite": b"-inf",
    "huge": b"x" * 20_000,
    "wrong base64": b"a=b=====.=",
    "separators": b";,=;;=,",
    "too large for a float": b"1e999",
    "brackets": b"[::1",
    "ports": b"x:80:90",
    "dots": b"../../..",
    "object": b'{"a": [1, 2',
}
HEADERS = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Content-Type",
    "Cookie",
    "Forwarded",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Origin",
    "Range",
    "Referer",
    "Sec-Fetch-Site",
    "Traceparent",
    "X-Csrftoken",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-HTTP-Method-Override",
    "X-Request-ID",
]
READ = {"Cookie", "Host", "Last-Event-ID"}  # read by the dashboard's code
WORST = {"not UTF-8", "percent not UTF-8"}
FORMS: dict[str, type[msgspec.Struct] | None] = {
    "/orders": actions.OrderForm,
    "/restock": actions.RestockForm,
    "/chaos": ChaosForm,
    "/chaos/calm": None,
    "/chaos/halt": actions.HaltForm,
    "/breaker": actions.BreakerForm,
    "/requeue": None,
    "/audit": None,
}
FILLED = {"item_id": "ps5", "quantity": "1", "halted": "true", "state": "auto"}


def routes() -> Iterator[tuple[str, str]]:
    """Yield each method and path of the dashboard, with an example for each path parameter."""
    environ = {
        "PORT": "3000",
        "REPLICA": "frontend-1",
        "ORDER_URL": NOBODY,
        "INVENTORY_URL": NOBODY,
        "OPERATOR_TOKEN": OPERATOR_TOKEN,
        "DASHBOARD_PASSWORD": PASSWORD,
    }
    edge = build(read(FrontendSettings, {f"VALERIX_{name}": value for name, value in environ.items()}))
    app = cast("Litestar", edge.app)
    for route in app.routes:
        path = route.path_format.replace("{order_id}", "00000000-0000-0000-0000-000000000000")
        path = path.replace("{file_path}", "page.js")
        for method in sorted(route.methods) if isinstance(route, HTTPRoute) else ["GET"]:
            yield method, path


ROUTES = [*routes(), ("GET", "/nowhere"), ("POST", "/nowhere")]


def status(head: bytes) -> int:
    assert head.startswith(b"HTTP/1.1 "), head[:100]
    return int(head[9:12])


def is_bug(head: bytes) -> bool:
    """Return True for a response that no request may cause.

    503 is correct here: no service runs behind the dashboard.
    """
    return status(head) not in {*range(200, 500), 501, 503}


def request(method: str, path: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    usual = [b"Connection: close", b"Content-Length: %d" % len(body)]
    if not any(header.lower().startswith(b"host:") for header in headers):
        usual.append(b"Host: 127.0.0.1")
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method.encode(), path), *headers, *usual, b"", body])


def test_the_tested_routes_are_those_of_the_application() -> None:
    assert {"/", "/feed", "/sign-in", "/sign-out", "/orders", "/metrics", "/health"} <= {path for _, path in ROUTES}
    assert {path for method, path in ROUTES if method == "POST"} == {*FORMS, "/sign-in", "/sign-out", "/nowhere"}


def some(names: Iterable[str], first: set[str]) -> list[ParameterSet]:
    """Return all names as parameters; those that are not in `first` are marked long."""
    return [pytest.param(name, marks=[] if name in first else [pytest.mark.long]) for name in names]


@pytest.mark.parametrize("header", some(HEADERS, READ))
def test_no_header_value_causes_a_500_on_any_route(dashboard: Dashboard, header: str) -> None:
    wrong = []
    for method, path in ROUTES:
        for name, value in VALUES.items():
            for also in ([], [b"Accept: text/html"]) if header == "Host" else ([b"Accept: text/html"],):
                sent = request(method, path.encode(), header.encode() + b": " + value, *also)
                if is_bug(head := dashboard.exchange(sent)):
                    wrong.append((method, path, name, head))
    assert wrong == []


def cookies(name: bytes) -> dict[str, bytes]:
    """Return cookies in our format with each kind of damage that a signed format can have."""

    def encoded(payload: bytes) -> bytes:
        return base64.urlsafe_b64encode(payload)

    claims = b'{"id": "x", "ends": 99999999999, "generation": "x", "kept": {}}'
    return {
        "made up": encoded(claims) + b"." + encoded(b"x" * 32),
        "without a seal": encoded(claims),
        "with an empty seal": encoded(claims) + b".",
        "only a seal": b"." + encoded(b"x" * 32),
        "with a seal that is no base64": encoded(claims) + b".\xff\xfe",
        "of the former format": base64.b64encode(b"short" + b'additional_authenticated_data={"expires_at": 1}'),
        "of the former format without an end": base64.b64encode(b"short" + b"additional_authenticated_data={}"),
        "twice": b"x; " + name + b"=y",
        "many times": b"; ".join([b"x", *[name + b"=" + b"z" * 40] * 200]),
    }


def test_a_damaged_session_cookie_counts_as_signed_out_on_every_route_and_is_cleared(dashboard: Dashboard) -> None:
    operator = dashboard.operator()
    ((name, value),) = operator.cookies.items()
    damaged = cookies(name.encode()) | {
        "cut off": value[:-10].encode(),
        "with another id": (("A" if value[20] != "A" else "B").join([value[:20], value[21:]])).encode(),
        "with a longer seal": value.encode() + b"A",
    }
    for method, path in ROUTES:
        for kind, cookie in (VALUES | damaged).items():
            sent = request(method, path.encode(), b"Accept: text/html", b"Cookie: " + name.encode() + b"=" + cookie)
            assert not is_bug(dashboard.exchange(sent)), (method, path, kind)
    for kind, cookie in damaged.items():
        head = dashboard.exchange(request("GET", b"/", b"Cookie: " + name.encode() + b"=" + cookie))
        assert (status(head), b"max-age=0" in head.lower()) == (200, True), kind
    for cookie in damaged.values():  # next to a valid one, each is ignored
        both = [name.encode() + b"=" + cookie, name.encode() + b"=" + value.encode()]
        for lines in ([b"Cookie: " + b"; ".join(both)], [b"Cookie: " + one for one in both]):
            if cookie.count(b"=") < 20:
                head = dashboard.exchange(request("POST", b"/sign-out", *lines))
                assert status(head) == 403, head  # signed in, but without a form's token
    assert is_operator(operator)


def test_a_browser_with_any_stored_cookie_can_sign_in(dashboard: Dashboard) -> None:
    """An unusable cookie locks no user out, whatever Host a proxy sends."""
    ((name, _),) = dashboard.operator().cookies.items()
    hosts = itertools.cycle(["127.0.0.1", f"127.0.0.1:{dashboard.service.port}", "localhost:8443"])
    kept = [
        "x",
        "x.y",
        *(value.decode("ascii", "replace").replace("\ufffd", "?") for value in cookies(b"other").values()),
    ]
    for host, cookie in zip(hosts, kept, strict=False):
        browser = dashboard.browser(Host=host)
        browser.cookies.set(name, cookie)
        browser.cookies.set(f"valerix-{dashboard.service.port}-form", "0" * 128)
        assert sign_in(browser, PASSWORD).status_code == 303
        assert is_operator(browser)


@pytest.mark.parametrize("value", some(VALUES, WORST))
def test_no_path_query_or_body_causes_a_500(dashboard: Dashboard, value: str) -> None:
    raw = VALUES[value]
    quoted = b"".join(b"%%%02X" % byte for byte in raw)
    places = [b"/" + quoted, b"/orders/" + quoted, b"/assets/" + quoted, b"/health/" + quoted]
    places += [
        path.encode() + b"?" + name + b"=" + quoted for _, path in ROUTES for name in (b"last_event_id", b"code", b"x")
    ]
    kinds = [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"application/json", b"text/x"]
    for place in places:
        assert not is_bug(dashboard.exchange(request("GET", place, b"Accept: text/html"))), place[:100]
    for path in (path for method, path in ROUTES if method == "POST"):
        for kind in kinds:
            for body in (raw, b"_csrf_token=" + quoted, b"--x\r\n" + raw + b"\r\n--x--"):
                sent = request("POST", path.encode(), b"Content-Type: " + kind, body=body)
                assert not is_bug(dashboard.exchange(sent)), (path, kind, body[:100])


@pytest.mark.parametrize("path", some(FORMS, {"/orders", "/chaos"}))
def test_no_field_of_an_operators_form_causes_a_500(dashboard: Dashboard, path: str) -> None:
    form, operator = FORMS[path], dashboard.operator()
    token = form_token(operator.get("/").text)
    fields = [field.name for field in msgspec.structs.fields(form)] if form else ["x"]
    for field in [*fields, "_csrf_token"]:
        for kind, value in VALUES.items():
            filled: dict[str, Any] = {name: FILLED[name] for name in fields if name in FILLED} | {"_csrf_token": token}
            pairs = [(name.encode(), held.encode()) for name, held in filled.items() if name != field]
            body = b"&".join(
                name + b"=" + b"".join(b"%%%02X" % byte for byte in held)
                for name, held in [*pairs, (field.encode(), value)]
            )
            for accept in ("text/html", "application/json"):
                answer = operator.post(
                    path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": accept}
                )
                assert answer.status_code not in {500, 502, 504}, (field, kind, answer.text)
    assert is_operator(operator)


def test_a_duplicate_field_is_refused_in_every_form(dashboard: Dashboard) -> None:
    operator = dashboard.operator()
    token = form_token(operator.get("/").text)
    for path in [*FORMS, "/sign-out"]:
        form = FORMS.get(path)
        fields = [field.name for field in msgspec.structs.fields(form)] if form else ["x"]
        filled = {name: FILLED.get(name, "1") for name in fields} | {"_csrf_token": token}
        for field in filled:
            pairs = {**filled, field: [filled[field], filled[field]]}
            answer = operator.post(path, data=pairs, headers={"Accept": "application/json"})
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:valerix:problem:invalid-form"), (
                path,
                field,
            )
            assert "twice" in answer.json()["detail"]
    assert is_operator(operator)
