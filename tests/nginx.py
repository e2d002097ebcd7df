"""A real nginx in front of a service, configured as ingress-nginx configures a backend."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import eventually
from tests.raw_http import connected
from valerix_cli.local.ports import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx on the path: apt-get install nginx-light")

_CONFIG = """
daemon off; worker_processes 1; user root; pid {directory}/pid; error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream service {{ server 127.0.0.1:{service}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    underscores_in_headers on;
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Host 127.0.0.1:{service};
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
      proxy_request_buffering {buffering};
      proxy_next_upstream off;
    }}
  }}
}}
"""


@contextmanager
def in_front_of(service: int, directory: Path, *, buffering: bool = True) -> Iterator[int]:
    """Run nginx in front of the port `service`, with few, reused connections; yield the port it listens on.

    Without `buffering` it forwards a body as it arrives.
    """
    assert NGINX is not None
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    text = _CONFIG.format(directory=directory, service=service, port=port, buffering="on" if buffering else "off")
    (config := directory / "nginx.conf").write_text(text)
    nginx = subprocess.Popen([NGINX, "-c", str(config), "-p", str(directory)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port), what=f"nginx listens; see {directory}/error.log")
        yield port
    finally:
        nginx.terminate()
        nginx.wait(10)


def _listens(port: int) -> bool:
    try:
        with connected(port):
            return True
    except ConnectionRefusedError:
        return False
