"""Connection limits of a process: their number, their timeouts, and service to other clients meanwhile."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from services.common.connection_limits import LIMITS, SPARE
from tests.integration.messages.services import ROLES, new_id, role
from tests.machine_load import slowdown
from tests.processes import Processes, Service, eventually
from tests.raw_http import Connection

LATE = 4.0  # seconds by which a timeout may be exceeded on a busy machine


@contextlib.contextmanager
def many(port: int, number: int, sent: bytes = b"") -> Iterator[list[Connection]]:
    """Yield that many connections, each of which has sent `sent`."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(number):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            made.append(Connection(one))
            made[-1].send(sent)
        yield made


def is_open(connection: Connection) -> bool:
    """Return True if the server has neither responded on it nor closed it."""
    connection.socket.setblocking(False)  # noqa: FBT003 - it has no keyword
    try:
        return bool(connection.socket.recv(1, socket.MSG_PEEK)) and False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.socket.settimeout(5)


def metric(service: Service, name: str) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def logged(service: Service, event: str) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in service.log.read_text().splitlines())
    return [line for line in lines if line["event"] == event]


@pytest.mark.timed
def test_silent_connections_time_out_while_others_are_served(
    fleet: dict[str, Service],
) -> None:
    """On each service: half of them send nothing, the others half of a request head."""
    with contextlib.ExitStack() as stack:
        silent, unfinished = [], []
        for service in fleet.values():
            half = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % service.port
            silent += stack.enter_context(many(service.port, 150))
            unfinished += stack.enter_context(many(service.port, 150, half))
        began, served = time.monotonic(), 0
        while any(map(is_open, silent + unfinished)):
            assert time.monotonic() - began < LIMITS["head"] + LATE * slowdown()
            for service in fleet.values():
                assert httpx.get(f"{service.url}/health/live", timeout=LATE).status_code == 200
            served += 1
        assert time.monotonic() - began > LIMITS["head"] - LATE
        assert served > 5
        assert {tuple(one.status for one in connection.rest()) for connection in silent} == {()}
        assert {tuple(one.status for one in connection.rest()) for connection in unfinished} == {(408,)}
    for service in fleet.values():
        assert metric(service, 'http_timeouts_total{kind="head"}') >= 300


@pytest.mark.long
def test_every_kind_of_slow_request_times_out(fleet: dict[str, Service]) -> None:
    """Timeouts of the body, the response, and the time between two requests, on every service at once."""
    with contextlib.ExitStack() as stack:
        waiting: dict[tuple[str, str], Connection] = {}
        for name in ROLES:
            one = role(name, fleet[name], "wire")
            stalled = one.head(new_id(), b"POST", one.target) + one.fields + b"Content-Length: 100\r\n\r\n{"
            kinds = {"idle": one.get(new_id()), "write": one.head(new_id(), b"GET", b"/metrics") + b"\r\n"}
            if one.status < 300:  # others respond at once
                kinds["body"] = stalled
            else:
                kinds["drain"] = stalled
            for kind, sent in kinds.items():
                (connection,) = stack.enter_context(many(one.port, 1))
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.send(sent * (3000 if kind == "write" else 1))
                if kind in {"idle", "drain"}:
                    assert connection.next() is not None
                waiting[name, kind] = connection
        began = time.monotonic()
        ended: dict[tuple[str, str], float] = {}
        before = {name: metric(fleet[name], "http_timeouts_total") for name in ROLES}
        while len(ended) < len(waiting):
            assert time.monotonic() - began < LIMITS["idle"] + (LATE + 5) * slowdown(), set(waiting) - set(ended)
            for (name, kind), connection in waiting.items():
                if (name, kind) not in ended and (
                    metric(fleet[name], 'http_timeouts_total{kind="write"}') > 0
                    if kind == "write"  # there is much left to read
                    else not is_open(connection)
                ):
                    ended[name, kind] = time.monotonic() - began
            time.sleep(0.1)
        for (name, kind), took in ended.items():
            late = 20.0 if kind == "write" else LATE  # the response continues until the kernel's buffers are full
            assert LIMITS[kind] - LATE < took < LIMITS[kind] + late * slowdown(), (name, kind)
        assert all(metric(fleet[name], "http_timeouts_total") >= before[name] + 3 for name in ROLES)


@pytest.mark.long
def test_a_dashboard_stream_does_not_time_out(fleet: dict[str, Service]) -> None:
    began = time.monotonic()
    with httpx.stream("GET", f"{fleet['frontend'].url}/feed", timeout=20) as stream:
        for _ in stream.iter_raw():
            if time.monotonic() - began > LIMITS["idle"] + 5:
                break
    assert time.monotonic() - began > LIMITS["idle"] + 5


@pytest.mark.timed
def test_health_is_answered_beyond_the_connection_limit_and_silent_connections_are_closed(
    services: Processes,
) -> None:
    service = services.inventory(MAX_CONNECTIONS="40")
    services.start(service)
    with many(service.port, 300):
        assert eventually(lambda: httpx.get(f"{service.url}/api/inventory/none").status_code == 404, within=2)
        assert {httpx.get(f"{service.url}/api/inventory/none").status_code for _ in range(50)} == {404}
    assert eventually(lambda: metric(service, "http_connections_open") == 1)
    busy = b"POST /api/inventory/deduct HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 5\r\n\r\n" % service.port
    with many(service.port, 40, busy):
        eventually(lambda: metric(service, "http_connections_open") == 41)
        refused = httpx.get(f"{service.url}/api/inventory/none")
        assert (refused.status_code, refused.headers["retry-after"], refused.headers["connection"]) == (
            503,
            "1",
            "close",
        )
        assert refused.json()["type"] == "urn:valerix:problem:too-many-connections"
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert httpx.get(f"{service.url}{path}").status_code == 200
        with many(service.port, SPARE):
            flooded = [Connection(socket.create_connection(("127.0.0.1", service.port), timeout=5)) for _ in range(20)]
            for one in flooded:
                answer = one.next()
                assert answer is None or answer.status == 503
                one.socket.close()
    assert eventually(lambda: httpx.get(f"{service.url}/api/inventory/none").status_code == 404)
    assert metric(service, 'http_connections_refused_total{reason="limit"}') >= 21
    assert metric(service, 'http_connections_refused_total{reason="silent"}') > 0
    entries = eventually(lambda: logged(service, "connections refused"))
    assert entries[0]["limit"] == 40
    assert len(entries) < 15  # however many there were


def test_the_longest_idle_connection_is_closed_beyond_the_limit(services: Processes) -> None:
    service = services.inventory(MAX_CONNECTIONS="5")
    services.start(service)
    head = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % service.port
    with many(service.port, 1, head) as first:
        assert first[0].next() is not None
        time.sleep(1.2)  # idle at a sweep, before the others
        with many(service.port, 4, head) as others:
            for one in others:
                assert one.next() is not None
            time.sleep(1.2)
            with many(service.port, 1, head.replace(b"/health/live", b"/api/inventory/none")) as newest:
                answer = newest[0].next()
                assert answer is not None
                assert answer.status == 404
            assert eventually(lambda: not is_open(first[0]))
            assert all(map(is_open, others))


@pytest.mark.timed
def test_exhausted_file_descriptors_are_logged_and_the_service_recovers(services: Processes) -> None:
    service = services.inventory()
    services.start(service)
    process = psutil.Process(service.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 4, hard))
    with many(service.port, 40):
        used = sum(process.cpu_times()[:2])
        entries = eventually(lambda: logged(service, "no file descriptor left, new connections are closed"), within=3)
        time.sleep(2)
        assert sum(process.cpu_times()[:2]) - used < 0.5
        assert entries[0]["level"] == "error"
    process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    assert eventually(lambda: httpx.get(f"{service.url}/health/ready").status_code == 200)
    assert metric(service, 'http_connections_refused_total{reason="descriptors"}') > 0
    assert len(logged(service, "no file descriptor left, new connections are closed")) < 8


def test_the_connection_limit_is_below_the_descriptor_limit() -> None:
    ask = "from services.common.connection_limits import allowed; print(allowed(1000))"
    for limits, expected in (("-Hn 1100 -Sn 256", 900), ("-Hn 4096 -Sn 256", 1000), ("-Hn 40 -Sn 40", 10)):
        hard, soft = limits.split(" -S")
        asked = subprocess.run(
            ["/bin/sh", "-c", f'ulimit -S{soft}; ulimit {hard}; exec "$0" -c "$1"', sys.executable, ask],
            check=True,
            capture_output=True,
            text=True,
        )
        assert int(asked.stdout.split()[-1]) == expected, limits
