"""Everything installed, built and shipped is pinned by hash; every scanner exception has a reason."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services.frontend import build_hook
from tests.cluster import checkov, scanners

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)[^\n\\]*((?: *\\\n +--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE)
PINNED = ["constraints.txt", "services/tools.txt", "tests/security/requirements.txt"]
UV = str(Path(sys.executable).with_name("uv"))
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())
DOCKERFILE = (ROOT / "services/Dockerfile").read_text()


def pins(file: str) -> dict[str, tuple[str, int]]:
    """Return each package of a file, with its version and number of hashes."""
    found = PIN.findall((ROOT / file).read_text())
    return {name: (version, hashes.count("--hash")) for name, version, hashes in found}


def closure(wanted: list[str]) -> set[str]:
    """Return the names of `wanted` and its dependencies, as installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in wanted]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) not in found:
                found.add((requirement.name, extra))
                waiting += _of(requirement.name, extra)
    return {canonicalize_name(name) for name, _ in found}


def _of(name: str, extra: str) -> list[Requirement]:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # not in a group of this environment
        return []
    needed = [Requirement(line) for line in lines]
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]


def test_every_installed_or_build_requirement_is_pinned_with_hashes() -> None:
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], "editables"]
    wanted += [line for lines in (*extras.values(), *groups.values()) for line in lines]
    pinned = pins("constraints.txt")
    missing = closure(wanted) - pinned.keys()
    assert missing == set()
    assert len(pinned) > 100


def test_build_requirements_have_the_pinned_versions() -> None:
    """So that builds without the constraints use them as well."""
    pinned = pins("constraints.txt")
    requires = PROJECT["build-system"]["requires"]
    assert requires == [f"{name}=={pinned[name][0]}" for name in (line.partition("==")[0] for line in requires)]


@pytest.mark.parametrize("file", PINNED)
def test_every_pin_has_hashes_and_names_no_registry(file: str) -> None:
    text, found = (ROOT / file).read_text(), pins(file)
    assert {name for name, (_, hashes) in found.items() if not hashes} == set()
    assert len(PIN.findall(text)) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))
    assert not re.search(r"://|--(extra-)?index|--find-links", text)


@pytest.mark.parametrize("file", PINNED[1:])
def test_every_tool_is_pinned(file: str) -> None:
    wanted = [line for line in (ROOT / file).with_suffix(".in").read_text().splitlines() if line[0] != "#"]
    assert {*wanted} <= pins(file).keys()


def installs() -> Iterator[str]:
    for node in ast.walk(NOXFILE):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "session.install":
            yield ast.unparse(node)


def test_every_nox_session_installs_pinned_requirements_with_hashes() -> None:
    found = [*installs()]
    assert len(found) >= 4
    assert [call for call in found if "*PINS" not in call and "*STRICTLY" not in call] == []


def test_the_image_installs_pinned_requirements_with_hashes() -> None:
    commands = re.sub(r"\\\n", " ", DOCKERFILE)
    found = re.findall(r"pip install [^&\n]*", commands)
    assert len(found) == 3
    for command in found:
        words = {*command.split()}
        built = {"--constraint", "--build-constraint", "--require-build-hashes"} <= words
        fetched = {"--constraint", "--group"} <= words
        assert built or fetched or {"--require-hashes", "--only-binary"} <= words, command


def test_the_image_installs_only_dependencies_of_the_package() -> None:
    project = PROJECT["project"]
    everything = {*project["dependencies"], *project["optional-dependencies"]["otel"]}
    assert {*PROJECT["dependency-groups"]["services"]} < everything


def constant(name: str) -> tuple[str, ...]:
    """Return the value of a constant of the noxfile."""
    for node in NOXFILE.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            value: tuple[str, ...] = ast.literal_eval(node.value)
            return value
    raise AssertionError(name)


def wheel(directory: Path, name: str, module: str) -> Path:
    """Return a wheel with a single module."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", module)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


BACKEND = """
import zipfile, pathlib
def build_wheel(directory, settings=None, metadata=None):
    with zipfile.ZipFile(pathlib.Path(directory) / "made-1.0-py3-none-any.whl", "w") as archive:
        about = "Metadata-Version: 2.1\\nName: made\\nVersion: 1.0\\nRequires-Dist: library\\n"
        archive.writestr("made-1.0.dist-info/METADATA", about)
        kind = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        archive.writestr("made-1.0.dist-info/WHEEL", kind)
        archive.writestr("made-1.0.dist-info/RECORD", "")
    return "made-1.0-py3-none-any.whl"
build_editable = build_wheel
"""


@pytest.mark.parametrize("editable", [True, False])
@pytest.mark.parametrize("wrong", ["", "library", "backend"])
def test_a_package_with_another_hash_is_refused_at_run_and_build_time(
    tmp_path: Path, wrong: str, *, editable: bool
) -> None:
    """With the options that the sessions use to install."""
    import hashlib  # noqa: PLC0415 - only this test makes packages

    made = tmp_path / "made"
    made.mkdir()
    backend = '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
    (made / "pyproject.toml").write_text(
        backend + '[project]\nname = "made"\nversion = "1.0"\ndependencies = ["library"]\n'
    )
    lines = []
    for name, module in (("library", ""), ("backend", BACKEND)):
        digest = hashlib.sha256(wheel(tmp_path, name, module).read_bytes()).hexdigest()
        lines.append(f"{name}==1.0 --hash=sha256:{'0' * 64 if name == wrong else digest}")
    (tmp_path / "constraints.txt").write_text("\n".join(lines))
    uv = [UV, "--no-config", "--offline", "--cache-dir", str(tmp_path / "cache")]
    subprocess.run([*uv, "venv", "--quiet", "environment"], cwd=tmp_path, check=True)
    command = [*uv, "pip", "install", "--no-index", "--find-links", str(tmp_path), "--python", "environment"]
    done = subprocess.run(
        [*command, *constant("PINS"), *(["--editable"] if editable else []), "./made"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is (wrong == ""), done.stderr
    assert not wrong or "Hash mismatch" in done.stderr


@pytest.mark.parametrize("directory", ["services/frontend/npm", "tests/browser/npm"])
def test_npm_packages_are_pinned_by_hash_without_a_registry(directory: str) -> None:
    lock = json.loads((ROOT / directory / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    assert {name for name, one in packages.items() if not one.get("integrity", "").startswith("sha512-")} == set()
    assert "resolved" not in json.dumps(lock)
    for module in ("services/frontend/build_hook.py", "tests/browser/conftest.py"):
        assert '"ci", "--ignore-scripts"' in (ROOT / module).read_text(), (
            "npm ci keeps to the lock file, npm install not"
        )


def test_a_changed_npm_file_is_fetched_again(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("{}")
    for name in build_hook.VENDORED_FILES.values():
        (tmp_path / name).write_text("x")
    before = build_hook.digest(lock, tmp_path)
    for name in ("lock", *build_hook.VENDORED_FILES.values()):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_text("y")
        assert build_hook.digest(lock, tmp_path) != before
        (tmp_path / name).unlink()
        if name != "lock":
            assert build_hook.digest(lock, tmp_path) != before
        (tmp_path / name).write_bytes(kept)
    assert build_hook.digest(lock, tmp_path) == before


def test_the_base_image_has_a_version_and_may_be_a_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert {*bases} == {"${PYTHON}"}, "one argument names every base, so one digest pins them"
    default = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert default is not None
    assert re.search(r":\d+\.\d+\.\d+-[\w-]+(@sha256:[0-9a-f]{64})?$", default[1]), "neither latest nor a moving minor"
    assert 'org.opencontainers.image.base.name="${PYTHON}"' in DOCKERFILE


def test_the_wheel_contains_only_runtime_files(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / "tree").mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "tree")
    for name in ("valerix_cli", "services", "dashboards", "manifests"):
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".env", "secrets.json", "services/.env", "services/order/tls.key", "valerix_cli/id_rsa.swp"):
        (tmp_path / "tree" / name).write_text("secret")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "tree", check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(made).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"valerix_cli", "valerix"}
    folders = {name.split("/")[2] for name in names if name.startswith("valerix_cli/platform/")}
    assert folders == {"services", "dashboards", "manifests"}
    kinds = ["css", "env", "html", "js", "json", "md", "py", "sh", "sql", "svg", "tcss", "toml", "yaml", "yml"]
    strange = [name for name in names if Path(name).suffix.lstrip(".") not in kinds and ".dist-info/" not in name]
    known = {".fetched", "pg_hba.conf", "idiomorph.LICENSE", "uPlot.LICENSE", "py.typed"}
    assert {Path(name).name for name in strange} <= known
    spare = re.compile(r"(^|/)(tests|npm|__pycache__)/|Dockerfile|assets\.py|secrets\.json|/\.env|\.swp$|\.key$")
    assert [name for name in names if spare.search(name)] == []
    assert "valerix_cli/platform/services/frontend/web/vendor/uPlot.iife.min.js" in names
    assert {"valerix_cli/py.typed", "valerix_cli/platform/services/py.typed"} < set(names)
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_every_scanner_exception_has_a_reason() -> None:
    """A `nosec` comment names its checks and has a reason, unless the lint exception on its line gives one."""
    sources = [
        *(file for name in ("services", "valerix_cli", "dashboards", "docs") for file in (ROOT / name).rglob("*.py"))
    ]
    lines = [(file, line) for file in (*sources, ROOT / "noxfile.py") for line in file.read_text().splitlines()]
    passed = [(file.name, line.strip()) for file, line in lines if re.search(r"#\s*nosec", line)]
    explained = re.compile(r"# nosec (B\d+,? ?)+# \w+,? \w+|# noqa: [A-Z0-9, ]+ - \w+.* # nosec (B\d+,? ?)+$")
    assert passed
    assert [one for one in passed if not explained.search(one[1])] == []
    skips = re.findall(r"checkov:skip=\w+(.*)", DOCKERFILE) + re.findall(r"hadolint ignore=\w+(.*)", DOCKERFILE)
    for table in (checkov.SKIPPED, scanners.SKIPPED, scanners.EXCEPTED, scanners.EXCLUSIVE):
        skips += table.values()
    assert [reason for reason in skips if len(reason.split()) < 3] == []
