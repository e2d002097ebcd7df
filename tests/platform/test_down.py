"""Stopping the platform."""

from tests.platform.installation import Installation, installed
from valerix_cli.local.state_directory import prepare, wipe


def test_down_leaves_no_process_and_keeps_the_data(platform: Installation) -> None:
    assert platform.place("before-down").status_code == 201
    done = platform.run("down")
    assert done.returncode == 0
    assert "Undo: valerix up" in done.stderr
    assert platform.is_gone()
    _ended_in_order(platform)
    assert not (platform.directory / "stack.json").exists()
    again = platform.run("down")
    assert (again.returncode, "No platform runs" in again.stderr) == (0, True)

    platform.up()
    assert platform.place("before-down").headers["Idempotent-Replayed"] == "true"


def test_wiping_asks_for_confirmation_and_deletes_only_files_of_the_platform() -> None:
    with installed() as installation:
        prepare(installation.directory)
        keepsake = installation.directory / "keepsake"
        keepsake.touch()
        refused = installation.run("down", "--wipe")
        assert refused.returncode == 4
        assert "add --yes" in refused.stderr

        assert wipe(installation.directory) == ["keepsake"]
        assert list(installation.directory.iterdir()) == [keepsake]
        assert installation.run("down", "--wipe", "--yes").returncode == 4, "its marker is gone: no longer ours"

        keepsake.unlink()
        prepare(installation.directory)
        assert installation.run("down", "--wipe", "--yes").returncode == 0
        assert not installation.directory.exists()


def _ended_in_order(platform: Installation) -> None:
    """Check the order: callers before their servers, services before databases; and PostgreSQL's regular shutdown."""
    output = platform.run("logs", "supervisor", "-n", "20").stdout
    _, _, after = output.rpartition("stopping, since SIGTERM was received\n")
    ended = [line.split("info")[1].split()[0] for line in after.splitlines() if "has ended" in line]
    assert ended[:4] == ["frontend-1", "worker-1", "order-1", "inventory-1"], output
    assert set(ended[4:]) == {"postgres", "redis"}, output
    assert len(ended) == len(after.splitlines()), f"something went wrong on the way:\n{output}"
    assert "database system is shut down" in platform.run("logs", "postgres", "-n", "1").stdout
