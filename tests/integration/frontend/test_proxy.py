"""Two dashboards behind a real nginx with round robin: they act as one."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.frontend.guesses import ADDRESS_LIMIT
from tests.integration.frontend.conftest import PASSWORD, Dashboard, Dashboards, form_token, is_operator, sign_in
from tests.processes import eventually
from valerix_cli.local.ports import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NGINX is None, reason="no nginx on the path: apt-get install nginx-light"),
]

CONFIGURATION = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
{user}
events {{}}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  upstream dashboards {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://dashboards; proxy_http_version 1.1;
      proxy_set_header Host $http_host; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


@pytest.fixture
def behind_nginx(dashboards: Dashboards, redis_url: str, tmp_path: Path) -> Iterator[str]:
    """URL of an nginx in front of two dashboards."""
    assert NGINX is not None
    replicas: list[Dashboard] = [dashboards.start(REDIS_URL=redis_url, TRUSTED_HOPS="1") for _ in range(2)]
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{one.service.port};" for one in replicas)
    user = "user root;" if os.geteuid() == 0 else ""
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIGURATION.format(directory=tmp_path, servers=servers, port=port, user=user))
    process = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").is_success
    except httpx.TransportError:
        return False


def browser(url: str, **headers: str) -> httpx.Client:
    same = {"Accept": "text/html", "Origin": url, "Sec-Fetch-Site": "same-origin"}
    return httpx.Client(base_url=url, headers=same | headers, timeout=10)


def test_a_session_starts_and_ends_on_both_replicas(behind_nginx: str) -> None:
    with browser(behind_nginx) as mine, browser(behind_nginx) as copy:
        assert sign_in(mine, PASSWORD).status_code == 303
        eventually(lambda: all(is_operator(mine) for _ in range(4)))
        copy.cookies = httpx.Cookies(mine.cookies)
        for _ in range(4):  # each form is rendered by one replica and submitted to the other
            token = form_token(mine.get("/").text)
            assert mine.post("/chaos/calm", data={"_csrf_token": token}).headers["location"] == "/#chaos"
        token = form_token(mine.get("/").text)
        assert mine.post("/sign-out", data={"_csrf_token": token}).status_code == 303
        eventually(lambda: not any(is_operator(copy) for _ in range(4)))
        assert {copy.post("/chaos/calm", data={"_csrf_token": token}).headers["location"] for _ in range(4)} == {
            "/sign-in"
        }


def test_password_guesses_behind_a_proxy_are_limited_despite_forged_addresses(behind_nginx: str) -> None:
    with browser(behind_nginx) as guesser:
        form = {"password": "guess", "_csrf_token": form_token(guesser.get("/sign-in").text)}
        found = [
            guesser.post("/sign-in", data=form, headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
            for number in range(4 * ADDRESS_LIMIT)
        ]
    assert found == [403] * 2 * ADDRESS_LIMIT + [429] * 2 * ADDRESS_LIMIT
