"""The quick start from the built wheel alone, installed in an empty directory, without the repository."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import open_directory

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))
VERSIONS = ("3.11", "3.12", "3.13")
NOBODY = 65534
LIMIT = 300.0  # seconds for one command on a busy machine
VERSION = "import sys; print(*sys.version_info[:2], sep='.')"
MODULES = "import services, manifests, dashboards"
RENDER = """
from valerix_cli.cluster.overlays import find_overlay, overlays, render
for name in overlays():
    print(name, len(render(find_overlay(name))))
"""


def find_python(version: str) -> str:
    """Return the path of a Python of `version`, from the path or from pyenv; skip the test if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    candidates = [*map(str, installed), shutil.which(f"python{version}")]
    for python in filter(None, candidates):
        found = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return python
    pytest.skip(f"Python {version} is not installed")


@dataclass(frozen=True)
class Tool:
    """An installed `valerix`: the directory with its environment, and the user that runs it (None: this one)."""

    directory: Path
    user: int | None = None

    @property
    def python(self) -> Path:
        return self.directory / "tools" / "valerix" / "bin" / "python"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in an empty directory, with no variable that could name the repository."""
        home = self.directory / "home"
        return subprocess.run(
            command,
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "VALERIX_STATE_DIR": str(home / "state")},
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(self.directory / "bin" / "valerix", *arguments)
        assert done.returncode == 0, f"valerix {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    build = [UV, "build", "--quiet", "--wheel", "--out-dir", str(directory), str(ROOT)]
    subprocess.run(build, check=True, timeout=LIMIT)
    (made,) = directory.glob("*.whl")
    return made


def install(wheel: Path, directory: Path, python: str, user: int | None = None) -> Tool:
    """Install the wheel as a tool in its own environment: uv's counterpart of `pipx install`."""
    command = [UV, "tool", "install", "--quiet", "--python", python, "--constraints", str(ROOT / "constraints.txt")]
    places = {"UV_TOOL_DIR": str(directory / "tools"), "UV_TOOL_BIN_DIR": str(directory / "bin")}
    subprocess.run([*command, str(wheel)], check=True, timeout=LIMIT, env=os.environ | places)
    (home := directory / "home").mkdir()
    if user is not None:
        os.chown(home, user, user)
    return Tool(directory, user)


@pytest.fixture(scope="module", params=VERSIONS)
def tool(request: pytest.FixtureRequest, wheel: Path) -> Iterator[Tool]:
    python = find_python(request.param)
    with open_directory("wheel") as directory:
        yield install(wheel, directory, python)


@pytest.fixture
def other_user(wheel: Path) -> Iterator[Tool]:
    if os.geteuid() != 0:
        pytest.skip("only root can run commands as another user")
    system = Path("/usr/bin/python3")
    if not system.exists():
        pytest.skip("no Python that every user may run: install the system's python3")
    with open_directory("wheel") as directory:
        yield install(wheel, directory, str(system), NOBODY)


def quick_start(valerix: Tool) -> None:
    """Run the commands of the README's quick start."""
    valerix("up", "--detach", "--free-ports")
    try:
        (order,) = valerix.json("order", "place", "ps5", "--key", "demo-1")
        replay = valerix.json("order", "replay", "demo-1", "--times", "5", "--concurrency", "5")
        assert {one["order_id"] for one in replay["sends"]} == {order["order_id"]}
        assert valerix.json("load", "--rate", "20/s", "--for", "2s")["requests"] >= 40
        drill = valerix.run(valerix.directory / "bin" / "valerix", "drill", "run", "schrodinger", "-o", "json")
        receipt = json.loads(drill.stdout)
        assert receipt["outcome"] in {"passed", "inconclusive"}, "a busy machine may be too slow for its steady state"
        assert {check["verdict"] for check in receipt["checks"] if check["phase"] == "roll-back"} == {"held"}
        assert valerix.json("audit")["verdict"] == "clean"
        assert valerix.json("dashboard")["url"].startswith("http://127.0.0.1:")
        assert "order-1" in valerix("status")
    finally:
        valerix("down", "--wipe", "--yes")


def test_only_one_top_level_package_is_installed(tool: Tool) -> None:
    (packages,) = tool.directory.glob("tools/valerix/lib/python3.*/site-packages")
    assert [path.name for path in packages.glob("valerix*")] != []
    assert tool.run(tool.python, "-P", "-c", MODULES).returncode == 1


def test_quick_start_runs_from_the_wheel_alone(tool: Tool) -> None:
    quick_start(tool)


def test_quick_start_runs_as_another_user(other_user: Tool) -> None:
    quick_start(other_user)


def test_the_demo_runs_from_the_wheel_alone(other_user: Tool) -> None:
    assert "Undo" not in other_user("demo", "--auto", "--fresh")


def test_every_overlay_of_the_wheel_is_rendered(tool: Tool) -> None:
    done = tool.run(tool.python, "-c", RENDER)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert {"local", "staging", "production", "digitalocean"} <= found.keys(), done.stderr
    assert all(int(count) > 20 for count in found.values())
