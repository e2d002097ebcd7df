"""Sessions: how they begin, what they are bound to, and that they end on all replicas."""

import http.cookies
import re
import time

import httpx
import pytest
import redis

from services.frontend.revocations import KEY
from tests.integration.frontend.conftest import PASSWORD, Dashboard, Dashboards, form_token, is_operator, sign_in
from tests.processes import eventually
from valerix_cli.local import sign_in_link


def copy_of(browser: httpx.Client, dashboard: Dashboard) -> httpx.Client:
    """Return another browser with the same cookies."""
    other = dashboard.browser()
    other.cookies = httpx.Cookies(browser.cookies)
    return other


def sign_out(browser: httpx.Client) -> int:
    return browser.post("/sign-out", data={"_csrf_token": form_token(browser.get("/").text)}).status_code


def morsel(answer: httpx.Response) -> http.cookies.Morsel[str]:
    (cookie,) = http.cookies.SimpleCookie(answer.headers["set-cookie"]).values()
    return cookie


def test_signing_out_ends_every_copy_of_the_session_and_no_other_session(dashboard: Dashboard) -> None:
    mine, other = dashboard.operator(), dashboard.operator()
    copies = [copy_of(mine, dashboard) for _ in range(3)]
    token = form_token(mine.get("/").text)
    assert all(is_operator(copy) for copy in copies)
    assert sign_out(mine) == 303
    for copy in copies:
        assert copy.post("/chaos/calm", data={"_csrf_token": token}).headers["location"] == "/sign-in"
        assert not is_operator(copy)
    assert is_operator(other)


def test_signing_out_ends_the_session_on_every_replica_and_after_a_restart(
    dashboards: Dashboards, redis_url: str
) -> None:
    first, second = dashboards.start(REDIS_URL=redis_url), dashboards.start(REDIS_URL=redis_url)
    mine = first.operator()
    there = copy_of(mine, second)
    eventually(lambda: is_operator(there), what="a session is good at each replica")
    copies = [copy_of(mine, one) for one in (first, second)]
    assert sign_out(mine) == 303
    assert not is_operator(copies[0])
    eventually(lambda: not is_operator(copy_of(copies[0], second)), within=5)
    second.service.kill()
    second.service.start(REDIS_URL=redis_url)
    second.service.wait_ready()
    assert not is_operator(copies[1])


@pytest.mark.long
def test_data_lost_by_redis_neither_revives_nor_ends_a_session(dashboards: Dashboards, redis_url: str) -> None:
    dashboard = dashboards.start(REDIS_URL=redis_url)
    ended, kept = dashboard.operator(), dashboard.operator()
    copy = copy_of(ended, dashboard)
    assert sign_out(ended) == 303
    with redis.Redis.from_url(redis_url) as store:
        store.flushall()
        eventually(lambda: store.exists(KEY), what="memory tells Redis again")
        store.delete(KEY)
        store.set(KEY, "a value of another type")
        eventually(lambda: store.type(KEY) == b"zset", what="a key of another type is replaced")
        assert (is_operator(kept), is_operator(copy)) == (True, False)
        dashboard.service.kill()
        store.flushall()
    dashboard.service.start(REDIS_URL=redis_url)
    dashboard.service.wait_ready()
    assert (is_operator(kept), is_operator(copy)) == (False, False), "nobody remembers what was signed out"


@pytest.mark.long
def test_a_restart_keeps_a_session_with_redis_and_ends_it_without(dashboards: Dashboards, redis_url: str) -> None:
    for settings, survives in (({"REDIS_URL": redis_url}, True), ({}, False)):
        dashboard = dashboards.start(**settings)
        browser = dashboard.operator()
        dashboard.service.stop()
        dashboard.service.start(**settings)
        dashboard.service.wait_ready()
        assert is_operator(browser) is survives


def test_signing_out_works_without_redis(dashboards: Dashboards) -> None:
    dashboard = dashboards.start(REDIS_URL="redis://127.0.0.1:9")
    browser = dashboard.operator()
    copy = copy_of(browser, dashboard)
    assert is_operator(browser)
    assert sign_out(browser) == 303
    assert not is_operator(copy)


def test_a_csrf_token_is_valid_only_in_its_own_session(dashboard: Dashboard) -> None:
    mine, theirs, guest = dashboard.operator(), dashboard.operator(), dashboard.browser()
    tokens = {
        "another operator's": form_token(theirs.get("/").text),
        "a guest's": form_token(guest.get("/sign-in").text),
        "made up": "0" * 64,
        "empty": "",
    }
    for whose, token in tokens.items():
        for path in ("/chaos/halt", "/sign-out", "/sign-in"):
            refused = mine.post(path, data={"halted": "true", "password": PASSWORD, "_csrf_token": token})
            assert refused.status_code == 403, (whose, path)
    cookies = "; ".join(f"{name}={value}" for client in (guest, mine) for name, value in client.cookies.items())
    with httpx.Client(base_url=dashboard.url) as planted:  # a guest's cookie next to the operator's
        both = {"_csrf_token": tokens["a guest's"], "halted": "true"}
        assert planted.post("/chaos/halt", data=both, headers={"Cookie": cookies}).status_code == 403
    assert mine.post("/chaos/calm", data={"_csrf_token": form_token(mine.get("/").text)}).status_code == 303


def test_signing_in_starts_a_new_session(dashboard: Dashboard) -> None:
    """An attacker who planted the guest's cookie does not share the session that follows (session fixation)."""
    browser = dashboard.browser()
    before = form_token(browser.get("/sign-in").text)
    planted = copy_of(browser, dashboard)
    assert sign_in(browser, PASSWORD).status_code == 303
    assert form_token(browser.get("/").text) != before
    assert not is_operator(planted)
    first = copy_of(browser, dashboard)
    assert sign_in(browser, PASSWORD).status_code == 303
    assert not is_operator(first), "the session that signed in again has replaced its former one"


def test_an_ended_session_is_redirected_to_sign_in(dashboard: Dashboard) -> None:
    browser = dashboard.operator()
    token = form_token(browser.get("/").text)
    browser.cookies.clear()
    answer = browser.post("/chaos/calm", data={"_csrf_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    problem = browser.post("/chaos/calm", data={"_csrf_token": token}, headers={"Accept": "application/json"})
    assert (problem.status_code, problem.json()["type"]) == (401, "urn:valerix:problem:not-signed-in")


@pytest.mark.long
@pytest.mark.parametrize("secure", [False, True])
def test_the_session_cookie_is_strict_bounded_and_independent_of_the_host(
    dashboards: Dashboards, *, secure: bool
) -> None:
    replicas = [dashboards.start(SECURE_COOKIES=str(secure)) for _ in range(2)]
    names = set()
    for dashboard in replicas:
        for host in ("127.0.0.1", "localhost:8443"):
            browser = dashboard.browser(Host=host)
            cookie = morsel(browser.get("/sign-in"))
            names.add(cookie.key)
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
            assert (cookie["domain"], bool(cookie["secure"])) == ("", secure)
            assert 43_100 < int(cookie["max-age"]) <= 43_200
    (name,) = names
    assert name.startswith("__Host-valerix-" if secure else "valerix-")
    other = dashboards.start(DASHBOARD_PASSWORD="p-another-platform-0042")
    assert morsel(other.browser().get("/sign-in")).key != name


def test_only_pages_with_a_form_set_a_cookie_and_no_page_is_cached(dashboard: Dashboard) -> None:
    for path in ("/", "/metrics", "/health", "/nowhere", "/sign-in", "/orders/x"):
        answer = dashboard.browser().get(path)
        assert ("set-cookie" in answer.headers) is (path == "/sign-in"), path
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_cacheable_responses_set_no_cookie(dashboard: Dashboard) -> None:
    operator = dashboard.operator()
    ((name, value),) = operator.cookies.items()
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', operator.get("/").text)
    assert len(assets) > 3
    for cookie in (value, "x.y", f"x.y; {name}={value}"):
        for asset in assets:
            answer = httpx.get(dashboard.url + asset, headers={"Cookie": f"{name}={cookie}"})
            assert (answer.status_code, "public" in answer.headers["cache-control"]) == (200, True)
            assert "set-cookie" not in answer.headers


def test_signing_in_redirects_only_to_the_dashboard(dashboard: Dashboard) -> None:
    for name in ("next", "url", "redirect", "return_to"):
        browser = dashboard.browser(Host="elsewhere.example")
        token = form_token(browser.get(f"/sign-in?{name}=https://elsewhere.example/").text)
        form = {"password": PASSWORD, "_csrf_token": token, name: "https://elsewhere.example/"}
        answer = browser.post(f"/sign-in?{name}=//elsewhere.example", data=form)
        if answer.status_code != 421:  # an unknown host is always refused
            assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.long
def test_a_link_signs_in_once_across_all_replicas(dashboards: Dashboards, redis_url: str) -> None:
    replicas = [dashboards.start(REDIS_URL=redis_url) for _ in range(2)]
    code = sign_in_link.code(PASSWORD, time.time())
    found = [sign_in(one.browser(), code).status_code for one in (*replicas, *replicas)]
    assert found == [303, 403, 403, 403]


def test_a_notice_appears_once_on_the_next_page(dashboard: Dashboard) -> None:
    browser = dashboard.operator()
    done = browser.post("/chaos/calm", data={"_csrf_token": form_token(browser.get("/").text)})
    assert done.headers["location"] == "/#chaos"
    notices = [browser.get("/").text.count('class="notice') for _ in range(2)]
    assert notices == [1, 0]
