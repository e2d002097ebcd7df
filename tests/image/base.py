"""`python -m tests.image.base [--python PREFIX]`: build a base image without a registry, and Valerix' image on it.

The base replaces python:3.13-slim: Debian's minimal system, by debootstrap, and below /usr/local the CPython of PREFIX
(by default, the one that runs this) with its own pip. This Python must have been built for a separate prefix, as those
of pyenv and of `uv python install` are, and Debian's is not. It is built as root, with Debian's debootstrap, buildah
and podman.

If packages come from another registry, BUILDAH_ARGUMENTS configures it, for instance with `--volume
"$HOME/.npmrc:/root/.npmrc:ro"`.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/python-base:test", "localhost/valerix:test"
TREE = "valerix.dev/tree"
"""The label with the digest of the tree that an image was built from."""
GIT = shutil.which("git") or "git"
TOOLS = ("debootstrap", "buildah", "podman")

SUITE = "bookworm"
LIBRARIES = (
    "ca-certificates netbase tzdata libssl3 libffi8 zlib1g libbz2-1.0 liblzma5 libsqlite3-0 libreadline8 libncursesw6 "
    "libuuid1 libexpat1"
)
"""The libraries that CPython is linked to, and other packages of the official image."""
LEFT_OUT = ("test", "tests", "idle_test", "__pycache__", "libpython*.a")
"""Left out as in the official image, which has neither tests nor bytecode."""
SPARE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")

LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
"""By default podman and buildah request a million, which a confined root may not have."""


def podman() -> list[str]:
    """Return podman's command, with runc if it is installed: crun refuses machines with both versions of cgroups."""
    return ["podman", *(["--runtime", "runc"] if shutil.which("runc") else [])]


def missing() -> str | None:
    """Return why no image can be built and run here, and the remedy; None if one can."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install {' '.join(TOOLS)} runc"
    if os.geteuid() != 0:
        return "images are made and run as root here: sudo, or a container of one's own"
    return None


def taken() -> Iterator[Path]:
    """Yield the files of the build context, by .dockerignore, without files that Python or npm left in it."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    kept, left = [line[1:] for line in lines if line.startswith("!")], [line for line in lines if line[0] not in "!*"]
    for path in sorted(file for name in kept for file in (ROOT / name, *(ROOT / name).rglob("*")) if file.is_file()):
        parts = path.relative_to(ROOT)
        if "__pycache__" not in parts.parts and not any(parts.is_relative_to(name) for name in left):
            yield path


def tree() -> str:
    """Return a digest of the names and contents of the build context."""
    digest = hashlib.sha256()
    for path in (ROOT / ".dockerignore", *taken()):
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def exists(image: str) -> bool:
    return subprocess.run([*podman(), "image", "exists", image], check=False).returncode == 0


def is_current() -> bool:
    """Return True if the image exists and was built from the current tree."""
    look = [*podman(), "image", "inspect", "--format", f'{{{{index .Labels "{TREE}"}}}}', IMAGE]
    found = subprocess.run(look, capture_output=True, text=True, check=False)
    return found.returncode == 0 and found.stdout.strip() == tree()


def make_base(prefix: Path) -> None:
    """Build the base image: Debian and a Python, as one layer, with `python` on its path."""
    if prefix == Path("/usr"):
        sys.exit(f"{sys.executable} is the system's own Python: name the prefix of another, --python PREFIX")
    with tempfile.TemporaryDirectory(prefix="valerix-base-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # it becomes /, which every user has to traverse
        include = f"--include={','.join(LIBRARIES.split())}"
        run("debootstrap", "--variant=minbase", include, SUITE, directory)
        for name in SPARE:
            shutil.rmtree(root / name)
            (root / name).mkdir()
        _add_python(prefix, root)
        archive = Path(f"{directory}.tar")
        run("tar", "--create", "--file", str(archive), "--directory", directory, ".")
        try:
            path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            run(*podman(), "import", "--change", path, str(archive), BASE)
        finally:
            archive.unlink()


def _add_python(prefix: Path, root: Path) -> None:
    """Copy the Python without installed packages, strip it, and install its bundled pip."""
    for name in ("bin", "lib", "include"):
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(prefix / name, root / "usr/local" / name, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    for packages in (root / "usr/local/lib").glob("python3.*/site-packages"):
        shutil.rmtree(packages)
        packages.mkdir()
    if strip := shutil.which("strip"):
        run(strip, "--strip-unneeded", *map(str, (root / "usr/local/lib").rglob("*.so*")))
    run("chroot", str(root), "ldconfig")
    run("chroot", str(root), "/usr/local/bin/python3", "-m", "ensurepip")
    for bytecode in list((root / "usr/local/lib").rglob("__pycache__")):
        shutil.rmtree(bytecode)


def build() -> None:
    """Build the image with buildah, in the host's network, on BASE."""
    revision = subprocess.run([GIT, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    run(
        "buildah", "build", "--isolation", "chroot", "--network", "host", *LIMITS,
        "--layers", "--format", "docker",  # the OCI format has no HEALTHCHECK
        *shlex.split(os.environ.get("BUILDAH_ARGUMENTS", "")),
        "--build-arg", f"PYTHON={BASE}", "--build-arg", f"REVISION={revision.stdout.strip() or 'unknown'}",
        "--label", f"{TREE}={tree()}", "--file", "services/Dockerfile", "--tag", IMAGE, ".",
    )  # fmt: skip


def run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.image.base", description=__doc__)
    parser.add_argument("--python", type=Path, metavar="PREFIX", help="make the base anew, with the Python of PREFIX")
    prefix: Path | None = parser.parse_args(arguments).python
    if why := missing():
        sys.exit(why)
    if prefix or not exists(BASE):
        make_base(prefix or Path(sys.base_prefix))
    build()


if __name__ == "__main__":
    main(sys.argv[1:])
