"""Wrong passwords: limited per address and in total, logged and counted. Sign-in links are not affected."""

import json
import time

import httpx

from services.frontend.guesses import ADDRESS_LIMIT, TOTAL_LIMIT
from tests.integration.frontend.conftest import PASSWORD, Dashboard, Dashboards, form_token, sign_in
from valerix_cli.local import sign_in_link


def guess(browser: httpx.Client, times: int, **headers: str) -> list[int]:
    token = form_token(browser.get("/sign-in").text)
    return [
        browser.post(
            "/sign-in", data={"password": f"guess-{number}", "_csrf_token": token}, headers=headers
        ).status_code
        for number in range(times)
    ]


def logged(dashboard: Dashboard, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in dashboard.service.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def count(dashboard: Dashboard, outcome: str) -> float:
    page = httpx.get(f"{dashboard.url}/metrics").text.splitlines()
    name = f'dashboard_sign_ins_total{{outcome="{outcome}"}}'
    return sum(float(line.rpartition(" ")[2]) for line in page if line.startswith(name))


def test_guesses_from_one_address_are_limited_logged_and_counted_and_a_link_still_works(
    dashboards: Dashboards,
) -> None:
    dashboard = dashboards.start()
    attacker = dashboard.browser()
    for outcome in ("opened", "refused", "limited"):
        zero = f'dashboard_sign_ins_total{{outcome="{outcome}"}} 0.0'
        assert zero in httpx.get(f"{dashboard.url}/metrics").text, "the first one is an increase, which alerts count"
    assert guess(attacker, 40) == [403] * ADDRESS_LIMIT + [429] * (40 - ADDRESS_LIMIT)
    for accept in ("text/html", "application/json"):
        limited = sign_in(attacker, PASSWORD, Accept=accept) if accept == "text/html" else _as_json(attacker)
        assert limited.status_code == 429, "the right password is not told from a wrong one"
        assert 1 <= int(limited.headers["retry-after"]) <= 60
    refused = logged(dashboard, "sign-in refused")
    assert [(line["level"], line["address"]) for line in refused] == [("warning", "127.0.0.1")] * ADDRESS_LIMIT
    assert len(logged(dashboard, "sign-in limited")) == 1, "an attacker does not fill the log"
    assert "guess-" not in dashboard.service.log.read_text()
    assert (count(dashboard, "refused"), count(dashboard, "limited")) == (ADDRESS_LIMIT, 37)
    assert sign_in(dashboard.browser(), sign_in_link.code(PASSWORD, time.time())).status_code == 303
    assert count(dashboard, "opened") == 1
    assert httpx.get(dashboard.url).status_code == 200


def _as_json(browser: httpx.Client) -> httpx.Response:
    token = form_token(browser.get("/sign-in").text)
    form = {"password": PASSWORD, "_csrf_token": token}
    return browser.post("/sign-in", data=form, headers={"Accept": "application/json"})


def test_a_forged_code_counts_as_a_guess(dashboards: Dashboards) -> None:
    dashboard = dashboards.start()
    browser = dashboard.browser()
    code = sign_in_link.code(PASSWORD, time.time())
    wrong = [code[:-2] + ("00" if code[-2:] != "00" else "11"), f"9{code}", "-", "9" * 5_000, "a-b-c"]
    found = [sign_in(browser, forged).status_code for forged in [*wrong, "one more"]]
    assert found == [403] * ADDRESS_LIMIT + [429]
    assert sign_in(browser, code).status_code == 303


def test_clients_behind_a_proxy_have_their_own_limits_and_a_common_one(dashboards: Dashboards) -> None:
    dashboard = dashboards.start(TRUSTED_HOPS="1")
    known = dashboard.operator(**{"X-Forwarded-For": "192.0.2.1"})
    assert known.get("/").status_code == 200
    browser = dashboard.browser()
    found = [
        status
        for number in range(TOTAL_LIMIT // ADDRESS_LIMIT + 2)
        for status in guess(browser, ADDRESS_LIMIT + 1, **{"X-Forwarded-For": f"10.9.9.9, 2001:db8:0:{number}::1"})
    ]
    assert found == ([403] * ADDRESS_LIMIT + [429]) * (TOTAL_LIMIT // ADDRESS_LIMIT) + [429] * 2 * (ADDRESS_LIMIT + 1)
    stranger = sign_in(dashboard.browser(), PASSWORD, **{"X-Forwarded-For": "192.0.2.2"})
    assert stranger.status_code == 429
    again = sign_in(dashboard.browser(), PASSWORD, **{"X-Forwarded-For": "192.0.2.1"})
    assert again.status_code == 303, "who signed in from there before is not locked out by strangers"


def test_address_headers_are_ignored_without_a_proxy(dashboards: Dashboards) -> None:
    dashboard = dashboards.start()
    browser = dashboard.browser()
    spoofed = ["192.0.2.77", "::1", "unknown", "'; DROP", "192.0.2.78, 192.0.2.79", ""]
    assert len(spoofed) > ADDRESS_LIMIT
    found = [guess(browser, 1, **{"X-Forwarded-For": one, "Forwarded": f"for={one}"})[0] for one in spoofed]
    assert found == [403] * ADDRESS_LIMIT + [429]
