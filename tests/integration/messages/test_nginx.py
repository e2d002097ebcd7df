"""Clients that share a proxy's connections to a service, some of them hostile."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.messages.services import Role, new_id
from tests.integration.messages.test_upgrades import UPGRADES
from tests.nginx import in_front_of, needs_nginx
from tests.raw_http import chunked, connected

VICTIMS = 1000  # requests


def attacks(each: Role) -> list[tuple[bytes, bytes]]:
    """Return heads and bodies. A body contains a request, complete or to be completed by the next client's bytes.

    Empty lines before it, which parsers of requests skip, make nginx forward it separately from the head.
    """
    whole = each.post(b"attack-whole", b"Content-Length: %d\r\n" % len(each.body), each.body)
    unfinished = each.post(b"attack-unfinished", b"Content-Length: 70\r\n")
    made = []
    for upgrade, within, pad in itertools.product(UPGRADES[:3], (unfinished, whole), (b"\r\n" * 20_000, b"")):
        for method in (b"GET", b"POST"):
            body = pad + within
            head = each.head(b"attack", method, each.target) + each.fields + upgrade
            made += [
                (head + b"Content-Length: %d\r\n\r\n" % len(body), body),
                (head + b"Transfer-Encoding: chunked\r\n\r\n", chunked(body, 50_000)),
            ]
    return made


@needs_nginx
@pytest.mark.parametrize(
    "buffering", [True, pytest.param(False, marks=pytest.mark.long)], ids=["buffered", "unbuffered"]
)
def test_clients_behind_nginx_receive_only_their_own_responses(
    each: Role,
    tmp_path: Path,
    buffering: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    over = threading.Event()

    def attack(port: int) -> int:
        sent = 0
        for head, body in itertools.cycle(attacks(each)):
            if over.is_set():
                break
            with connected(port) as connection:
                connection.send(head)
                time.sleep(0.002)  # so that the head is sent alone
                connection.send(body)
                connection.next()
            sent += 1
        return sent

    def victim(port: int) -> list[tuple[bytes, str | None, int]]:
        seen = []
        for number in range(VICTIMS // 4):
            asked = new_id()
            body = each.body if number % 2 else None
            with connected(port) as connection:
                connection.send(
                    each.get(asked) if body is None else each.post(asked, b"Content-Length: %d\r\n" % len(body), body)
                )
                answer = connection.next()
            seen.append((asked, answer.request_id if answer else None, answer.status if answer else 0))
        return seen

    with in_front_of(each.port, tmp_path / "nginx", buffering=buffering) as port, ThreadPoolExecutor(8) as pool:
        attackers = [pool.submit(attack, port) for _ in range(3)]
        try:
            seen = [one for victims in pool.map(victim, [port] * 4) for one in victims]
        finally:
            over.set()
        assert sum(attacker.result() for attacker in attackers) > 50
    assert [one for one in seen if one[0].decode() != one[1]] == []
    assert {status for _, _, status in seen} - {503} == {200, each.status}  # a busy machine may respond with 503
    assert len(seen) == VICTIMS
