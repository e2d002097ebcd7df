"""A real S3 server that verifies signatures, and rclone as its client."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.processes import eventually
from valerix_cli.local.ports import free_port

RCLONE = shutil.which("rclone")
VERSITYGW = shutil.which("versitygw") or shutil.which("versitygw", path=str(Path.home() / "go" / "bin"))
needs_object_storage = pytest.mark.skipif(
    RCLONE is None or VERSITYGW is None,
    reason="no rclone, or no versitygw, on the path: "
    "apt-get install rclone; go install github.com/versity/versitygw/cmd/versitygw@latest",
)
BUCKET = "valerix"
KEY, SECRET = "only-for-this-test", "s-8d2f6b1a40c7e935"
_CONFIG = """
[backups]
type = s3
provider = Other
endpoint = http://127.0.0.1:{port}
region = us-east-1
access_key_id = {key}
secret_access_key = {secret}
"""


class ObjectStorage:
    """A server with one bucket, stored in the directory `bucket`."""

    def __init__(self, bucket: Path, port: int) -> None:
        self.port, self._bucket = port, bucket

    @property
    def files(self) -> dict[str, bytes]:
        """The objects in the bucket, as the server stores them."""
        found = [path for path in self._bucket.rglob("*") if path.is_file() and ".sgwtmp" not in path.parts]
        return {str(path.relative_to(self._bucket)): path.read_bytes() for path in found}

    def configuration(self, directory: Path, secret: str = SECRET) -> Path:
        """Write an rclone configuration with the remote `backups`; return its path."""
        path = directory / "rclone.conf"
        path.write_text(_CONFIG.format(port=self.port, key=KEY, secret=secret))
        path.chmod(0o644)
        return path


@contextmanager
def object_storage(directory: Path) -> Iterator[ObjectStorage]:
    assert VERSITYGW is not None
    served, metadata = directory / "served", directory / "metadata"
    (served / BUCKET).mkdir(parents=True)
    metadata.mkdir()
    found = ObjectStorage(served / BUCKET, free_port())
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [VERSITYGW, "--port", f"127.0.0.1:{found.port}", "posix", "--sidecar", str(metadata), str(served)],
            env={"PATH": os.defpath, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: _answers(found.port), what=f"it answers; see {directory / 'log'}")
        yield found
    finally:
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=1).status_code > 0
    except httpx.TransportError:
        return False
