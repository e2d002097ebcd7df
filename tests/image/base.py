"""`python -m tests.image.base [--python PREFIX]`: make a base image where none can be pulled, and Valerix' image on it.

The base stands in for python:3.13-slim: Debian's smallest system, by debootstrap, and below /usr/local the CPython of
PREFIX (else the one that runs this) with a pip of its own. That Python must have been built for a prefix of its own, as
those of pyenv and of `uv python install` are, and Debian's is not. It is made as root, with Debian's debootstrap,
buildah and podman.

Where packages come by a way of one's own, BUILDAH_ARGUMENTS says it, by `--volume "$HOME/.npmrc:/root/.npmrc:ro"` and
the like.
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
"""The label that says of which state of the tree an image is."""
GIT = shutil.which("git") or "git"
TOOLS = ("debootstrap", "buildah", "podman")

SUITE = "bookworm"
LIBRARIES = (
    "ca-certificates netbase tzdata libssl3 libffi8 zlib1g libbz2-1.0 liblzma5 libsqlite3-0 libreadline8 libncursesw6 "
    "libuuid1 libexpat1"
)
"""What a CPython links to, and what the official image has besides."""
LEFT_OUT = ("test", "tests", "idle_test", "__pycache__", "libpython*.a")
"""As the official image, which has neither tests nor bytecode."""
SPARE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")

LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
"""Else podman and buildah ask for a million, which a root who is confined may not have."""


def podman() -> list[str]:
    """Podman, with runc where there is one: crun refuses a machine that has both versions of cgroups."""
    return ["podman", *(["--runtime", "runc"] if shutil.which("runc") else [])]


def missing() -> str | None:
    """Why no image can be made and run here, and what to do about it; None if it can."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install {' '.join(TOOLS)} runc"
    if os.geteuid() != 0:
        return "images are made and run as root here: sudo, or a container of one's own"
    return None


def taken() -> Iterator[Path]:
    """The files that the image is made from, by .dockerignore: what it sends, less what Python or npm left there."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    kept, left = [line[1:] for line in lines if line.startswith("!")], [line for line in lines if line[0] not in "!*"]
    for path in sorted(file for name in kept for file in (ROOT / name, *(ROOT / name).rglob("*")) if file.is_file()):
        parts = path.relative_to(ROOT)
        if "__pycache__" not in parts.parts and not any(parts.is_relative_to(name) for name in left):
            yield path


def tree() -> str:
    """A digest of the files that the image is made from; it changes with each of them, its name and what it says."""
    digest = hashlib.sha256()
    for path in (ROOT / ".dockerignore", *taken()):
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def exists(image: str) -> bool:
    return subprocess.run([*podman(), "image", "exists", image], check=False).returncode == 0


def is_current() -> bool:
    """Whether the image is there, of the tree as it is now."""
    look = [*podman(), "image", "inspect", "--format", f'{{{{index .Labels "{TREE}"}}}}', IMAGE]
    found = subprocess.run(look, capture_output=True, text=True, check=False)
    return found.returncode == 0 and found.stdout.strip() == tree()


def make_base(prefix: Path) -> None:
    """Debian and a Python, as one layer of an image that finds `python` on its path."""
    if prefix == Path("/usr"):
        sys.exit(f"{sys.executable} is the system's own Python: name the prefix of another, --python PREFIX")
    with tempfile.TemporaryDirectory(prefix="valerix-base-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # it becomes /, which everybody must be able to enter
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
    """Copy the Python without what somebody installed into it, strip it, and have it bring its own pip."""
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
    """The image, by buildah, in this very network, on BASE."""
    revision = subprocess.run([GIT, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    run(
        "buildah", "build", "--isolation", "chroot", "--network", "host", *LIMITS,
        "--layers", "--format", "docker",  # OCI's format has no HEALTHCHECK
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
