"""Destinations of a token, and the syntax of addresses."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from valerix_cli.addresses import check_base_url, in_the_clear, is_loopback, past_proxies, path
from valerix_cli.contexts.find import find_context
from valerix_cli.contexts.model import Context
from valerix_cli.errors import BadUsageError, ExitCode, GuardError
from valerix_cli.options import GlobalOptions
from valerix_cli.settings import read_settings

SAFE = [
    "http://127.0.0.1:3001",
    "http://127.8.9.1",
    "http://localhost:3001/",
    "http://LOCALHOST",
    "HTTP://127.0.0.1".lower(),
    "http://[::1]:3001",
    "https://orders.example",
    "https://192.0.2.1:8443/base/",
]
EXPOSED = [
    "http://orders.example",
    "http://192.0.2.1:3001",
    "http://0.0.0.0:3001",
    "http://localhost.evil.example",
    "http://127.0.0.1.nip.example",
    "http://127.1",
    "http://2130706433",
    "http://[::ffff:192.0.2.1]",
    "http://[2001:db8::1]:80",
    "http://order:3001",
]
NO_ADDRESS = [
    "http://user:password@127.0.0.1",
    "https://token@orders.example",
    "http://127.0.0.1@evil.example",
    "http://evil.example\\@127.0.0.1",
    "http://127.0.0.1#@evil.example",
    "http://127.0.0.1?@evil.example",
    "http://evil.example/?x=1",
    "http:evil.example",
    "//evil.example",
    "evil.example",
    "ftp://evil.example",
    "http://",
    "http://a b",
    "http://127.0.0.1\n",
    "http://evil.example\x00.localhost",
    "http://\uff11\uff12\uff17.0.0.1",
    "",
]
TOKENS = ['operator_token = "secret"', 'operator_token_env = "SECRET"', 'service_token_env = "SECRET"']


def context(directory: Path, url: str, more: str = "", *, flag: bool = False, inventory: str | None = None) -> Context:
    (directory / "config.toml").write_text(
        f'[contexts.there]\norder = ["http://127.0.0.1", "{url}"]\ninventory = ["{inventory or url}"]\n{more}\n'
    )
    options = GlobalOptions(context="there", insecure_token=flag)
    environ = {"VALERIX_CONFIG": str(directory / "config.toml"), "SECRET": "secret"}
    return find_context(read_settings(options, environ, directory / "nowhere"), environ)


@pytest.mark.parametrize("url", [*SAFE, *EXPOSED])
def test_every_parser_reads_an_address_the_same_way(url: str) -> None:
    check_base_url(url)
    assert httpx.URL(url).host == urlsplit(url).hostname


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_an_ambiguous_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address") as refused:
        check_base_url(url)
    assert "password@" not in str(refused.value)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("url", EXPOSED)
def test_no_token_is_sent_unencrypted_to_another_machine(url: str, token: str, tmp_path: Path) -> None:
    for inventory in (url, "https://stock.example"):
        with pytest.raises(GuardError, match="was not sent") as refused:
            context(tmp_path, url, token, inventory=inventory)
        assert refused.value.code is ExitCode.GUARD
        assert url in refused.value.why
    with pytest.raises(GuardError):
        context(tmp_path, "https://orders.example", token, inventory=url)
    assert context(tmp_path, url).operator_token is None  # without a token it may be used
    assert context(tmp_path, url, token, flag=True).services["order"][1] == url
    assert context(tmp_path, url, f"{token}\nallow_plain_http = true").services["order"][1] == url


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("url", SAFE)
def test_a_token_is_sent_with_tls_and_to_this_machine(url: str, token: str, tmp_path: Path) -> None:
    found = context(tmp_path, url, token)
    assert "secret" in {found.operator_token, found.service_token}


@pytest.mark.parametrize("url", [url for url in SAFE if url.startswith("http:")])
def test_requests_to_this_machine_use_no_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://proxy.example:3128")
        monkeypatch.setenv(variable.lower(), "http://proxy.example:3128")
    for variable in {"NO_PROXY", "no_proxy"} & set(os.environ):
        monkeypatch.delenv(variable)
    with httpx.Client(mounts=past_proxies([url]), trust_env=True) as http:
        direct = http._transport  # noqa: SLF001 - there is no public access
        assert http._transport_for_url(httpx.URL(url + "/x")) is direct  # noqa: SLF001 - the same
        assert http._transport_for_url(httpx.URL("http://orders.example")) is not direct  # noqa: SLF001 - the same


@pytest.mark.parametrize("token", ["s3cret\\n", "s3cret two", "s3crét", "s3cret\\u0000", "\\rs3cret"])
def test_an_invalid_token_is_not_shown(token: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="cannot be sent") as refused:
        context(tmp_path, "http://127.0.0.1:3001", f'operator_token = "{token}"')
    assert "s3cr" not in f"{refused.value} {refused.value.hint}"


def test_an_unencrypted_remote_address_is_reported() -> None:
    assert in_the_clear(["https://a.example", *SAFE]) is None
    assert in_the_clear([*SAFE, "http://b.example", "http://c.example"]) == "http://b.example"
    assert not any(is_loopback(url) for url in EXPOSED)


@pytest.mark.parametrize(
    "segment", ["x/../ps5", "a?b=c", "a#b", "a%2fb", "a b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a\\b"]
)
def test_any_name_stays_one_path_segment(segment: str) -> None:
    made = httpx.URL("http://127.0.0.1:3002").join(path("api", "inventory", segment, "restock"))
    before, named, after = made.raw_path.decode().rpartition("/restock")[0].rpartition("/")
    assert (before, unquote(after)) == ("/api/inventory", segment)
    assert named == "/"


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_segment_that_would_change_the_path_is_refused(segment: str) -> None:
    with pytest.raises(BadUsageError, match="is empty or a directory reference"):
        path("api", "inventory", segment)
