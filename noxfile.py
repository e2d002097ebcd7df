"""Everything one does with this repository, as sessions: `nox` checks it, `nox -s up` runs it."""

import os
import re
import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.needs_version = ">=2025.2"

SOURCES = ("valerix_cli", "services", "tests", "dashboards", "docs/picture.py", "noxfile.py")
TOOLS = ("services/tools", "tests/security/requirements")  # what is not installed beside Valerix, each with its pins
PINS = ("--constraint", "constraints.txt", "--build-constraint", "constraints.txt")
STRICTLY = ("--require-hashes", "--only-binary", ":all:", "--requirement")
TIMED = ("tests/integration", "tests/e2e", "tests/cli")  # folders with tests that say how long something may take
DEVELOPMENT, MONITORING = (
    nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group) for group in ("dev", "monitoring")
)


def install(session: nox.Session, *more: str) -> None:
    """Install Valerix itself and `more`, at the versions that constraints.txt pins.

    Its hashes are checked, those of what builds Valerix too.

    All is compiled at once, and the session may write bytecode wherever it runs. Every process would else compile what
    it imports anew, which takes a service three times as long to start, and every worker of pytest rewrite all tests.
    """
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.install("--compile-bytecode", *PINS, "--editable", ".", *more)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, likely bugs, formatting."""
    session.install(*PINS, "ruff")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session
def types(session: nox.Session) -> None:
    """Strict types."""
    install(session, *DEVELOPMENT)
    session.run("mypy", *SOURCES)


@nox.session
def imports(session: nox.Session) -> None:
    """Check which packages import which."""
    install(session, "import-linter")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """All default tests, on a real PostgreSQL and a real Valkey. Arguments after `--` go to one run of pytest.

    Files run side by side, since most of them wait for processes; those that say how long something may take run after.
    """
    install(session, *DEVELOPMENT)
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    runs = (("4", "not timed and not long"), ("4", "timed and not long", *TIMED))
    failed = []
    for processes, which, *folders in runs:  # all of them, so that `--last-failed` then knows every test that failed
        try:
            session.run("pytest", "--numprocesses", processes, "--dist", "loadfile", "-m", which, *folders)
        except CommandFailed:
            failed.append(which)
    if failed:
        session.error(f"of the tests that are {', or '.join(failed)}, some have failed")


@nox.session
def unit(session: nox.Session) -> None:
    """Tests that start no service: what one has broken is mostly found here. Arguments after `--` go to pytest."""
    install(session, *DEVELOPMENT)
    session.run("pytest", "--numprocesses", "auto", "-m", "not long", "tests/unit", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Every test of the dashboard, in a Chromium that has to be installed: Debian's `chromium`, for one."""
    install(session, *DEVELOPMENT)
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session
def surroundings(session: nox.Session) -> None:
    """Run a subset of the tests under nohup, with input closed, with odd variables, in an odd directory, as nobody.

    Some minutes for each. Arguments after `--` go to tests.surroundings_runner.
    """
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.surroundings_runner", *session.posargs)


@nox.session
def teeth(session: nox.Session) -> None:
    """Break Valerix on purpose in a dozen ways: the audit must catch each. Arguments after `--` go to the command."""
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.faults.teeth", *session.posargs)


@nox.session
def verdicts(session: nox.Session) -> None:
    """Put a thousand small mistakes into the code that makes verdicts: unit tests must catch each; some 20 minutes.

    Arguments after `--` go to the command: a part of the name of the modules to try, for one.
    """
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.verdicts", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send 20,000 HTTP messages, valid and mutated, to each service, directly and through nginx; some ten minutes.

    It prints the seed, which `-- --seed` sets. Without arguments it then runs the tests in tests/fuzz, and holds the
    OpenAPI documents against the services, with 2,000 requests for each operation; some ten minutes more.
    """
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.fuzz", *session.posargs)
    if not session.posargs:
        session.run("pytest", "tests/fuzz", "tests/contract", "-m", "long or not long")


@nox.session
def faults(session: nox.Session) -> None:
    """Strike every crash point hundreds of times, then everything at random, and write a receipt; some 30 minutes.

    Arguments after `--` go to tests.faults.campaign; results are kept in a directory that it names.
    """
    install(session, *DEVELOPMENT)
    if not session.posargs:
        elsewhere = ("cli/drills", "cli/test_demo.py", "cluster", "image", "node", "package")  # sessions of their own
        session.run("pytest", "-m", "long", *(f"--ignore=tests/{folder}" for folder in elsewhere))
    # Ctrl-C reaches the campaign itself, which ends every process and says how to go on.
    session.run("python", "-m", "tests.faults.campaign", *session.posargs, interrupt_timeout=None)


@nox.session
def drills(session: nox.Session) -> None:
    """Run every drill that comes with Valerix twice, each on a platform of its own; some 15 minutes.

    Before that, the demo's whole story, and small drills that pass, fail, are interrupted and killed; some ten minutes.
    Arguments after `--` are the names of the shipped drills to run, and of nothing else.
    """
    install(session, *DEVELOPMENT)
    if not session.posargs:
        session.run("pytest", "tests/cli/test_demo.py", "tests/cli/drills", "-m", "long or not long")
    session.run("python", "-m", "tests.drills.run_shipped", *session.posargs, interrupt_timeout=None)


@nox.session
def monitoring(session: nox.Session) -> None:
    """Have a real Prometheus watch a real platform in calm and in chaos, and a real collector take its traces.

    Needs Debian's prometheus and prometheus-alertmanager, or the same from elsewhere on the path; some ten minutes.
    """
    if not shutil.which(
        "prometheus"
    ):  # its tests would all be skipped, and the session look as if it had shown something
        session.error("Prometheus is not installed: apt-get install prometheus prometheus-alertmanager")
    install(session, *DEVELOPMENT, *MONITORING)
    session.run("pytest", "tests/monitoring", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel and run the quick start from it alone, with Python 3.11 to 3.13 as far as installed; minutes.

    Each Python is looked for on the path and in pyenv; as root, also as another user with the system's Python.
    """
    install(session, *DEVELOPMENT)
    session.run("pytest", "tests/package", *session.posargs)


@nox.session
def manifests(session: nox.Session) -> None:
    """Have checkov look at every overlay as it is rendered; what is skipped, and why, is said there.

    kube-score and kubeconform look at pairs of components too, if they are on the path; some five minutes.
    """
    install(session)
    session.install(*STRICTLY, "tests/security/requirements.txt")
    session.run("python", "-m", "tests.cluster.checkov", *session.posargs)
    session.run("python", "-m", "tests.cluster.scanners")


@nox.session
def image(session: nox.Session) -> None:
    """Build the image on a base made here, and run it in real containers; as root, with buildah, podman, debootstrap.

    BUILDAH_ARGUMENTS has what a build needs here and nowhere else, such as a package index. Arguments go to pytest.
    """
    install(session, *DEVELOPMENT)
    session.run("pytest", "tests/image", *session.posargs)


@nox.session(venv_backend="none")
def assets(session: nox.Session) -> None:
    """Build a Kubernetes control plane and node from their Go modules, once, into a cache; needs Go, takes a while."""
    session.run("python3", "-m", "tests.cluster.assets", *session.posargs)


@nox.session
def node(session: nox.Session) -> None:
    """Run the image on a real node: kubelet, containerd, DNS, in a network of their own; as root, some ten minutes.

    Needs what `nox -s cluster` and `nox -s image` do, and Debian's containerd and network plugins.
    """
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        session.error("KUBEBUILDER_ASSETS names no programs: nox -s assets builds them and says where they are")
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.node.assets")
    session.run("pytest", "tests/node", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """Try `valerix cluster` on real API servers, one for each of four workers; some six minutes.

    KUBEBUILDER_ASSETS names their programs, which `nox -s assets` builds. Arguments after `--` go to pytest.
    """
    if not os.environ.get(
        "KUBEBUILDER_ASSETS"
    ):  # its tests would all be skipped, and look as if they had shown something
        session.error("KUBEBUILDER_ASSETS names no control plane: nox -s assets builds one and says where it is")
    install(session, *DEVELOPMENT)
    session.run("pytest", "--numprocesses", "4", "--dist", "worksteal", "tests/cluster", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure how fast Valerix is, beside PostgreSQL doing the same one by one; `-- --quick` in a minute, else an hour.

    Arguments after `--` go to tests.benchmarks; `-- --write` writes docs/performance.md anew.
    """
    install(session, *DEVELOPMENT)
    # Ctrl-C reaches the benchmark itself, which stops and wipes the platforms it started.
    session.run("python", "-m", "tests.benchmarks", *session.posargs, interrupt_timeout=None)


@nox.session
def up(session: nox.Session) -> None:
    """Start the whole platform here and run it until Ctrl-C. Arguments after `--` go to `valerix up`."""
    install(session)
    valerix = str(Path(session.bin) / "valerix")
    session.log(f'to type valerix in another terminal: export PATH="{session.bin}:$PATH"')
    # Ctrl-C reaches the platform itself; nox would kill it half a second later, in the midst of closing.
    session.run(valerix, "up", *session.posargs, interrupt_timeout=None)


@nox.session
def picture(session: nox.Session) -> None:
    """Draw the README's picture anew, from commands that really run."""
    install(session)
    session.run("python", "docs/picture.py")


@nox.session
def screens(session: nox.Session) -> None:
    """Take the pictures of the dashboard anew: in calm, in chaos, in recovery. Needs a Chromium; some two minutes."""
    install(session, *DEVELOPMENT)
    session.run("python", "-m", "tests.browser.pictures")


@nox.session
def security(session: nox.Session) -> None:
    """Have bandit look at the code, hadolint and checkov at the image's Dockerfile: no finding goes unexplained."""
    session.install(*STRICTLY, "tests/security/requirements.txt")
    session.run("bandit", "--quiet", "--recursive", "valerix_cli", "services", "dashboards", "docs", "noxfile.py")
    session.run("hadolint", "--failure-threshold", "style", "services/Dockerfile")
    session.run(
        "checkov",
        "--framework",
        "dockerfile",
        "--file",
        "services/Dockerfile",
        "--skip-download",
        "--quiet",
        "--compact",
    )


@nox.session
def pin(session: nox.Session) -> None:
    """Write constraints.txt and the pins of tools anew, and the build requirements in pyproject.toml."""
    session.install(*PINS, "uv")
    newest = (
        "uv", "pip", "compile", "--quiet", "--universal", "--upgrade", "--generate-hashes", "--no-annotate",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links",
    )  # fmt: skip
    session.run(
        *newest, "--group", "dev", "--group", "monitoring", "--extra", "cluster", "pyproject.toml",
        "--output-file", "constraints.txt",
    )  # fmt: skip
    for tools in TOOLS:
        session.run(*newest, "--only-binary", ":all:", f"{tools}.in", "--output-file", f"{tools}.txt")
    project = Path("pyproject.toml")
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", Path("constraints.txt").read_text(), re.MULTILINE))
    head, mark, rest = project.read_text().partition("build-backend")
    pinned = re.sub(r'"([a-z-]+)==[^"]+"', lambda found: f'"{found[1]}=={pins[found[1]]}"', head)
    project.write_text(pinned + mark + rest)
