"""The decisions about children and logs, as values."""

from pathlib import Path

from valerix_cli.local.child import pause_before_restart
from valerix_cli.local.logs import last_lines, rotate
from valerix_cli.local.plan import INVENTORY, ORDER, Backing, Replica, environment

BACKING = Backing({"order_service": "postgresql://o", "inventory_service": "postgresql://i"}, "redis://r", "s", "o")


def test_pauses_between_restarts_grow_to_half_a_minute() -> None:
    assert [pause_before_restart(crashes) for crashes in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause_before_restart(10_000) == 30


def test_a_service_is_told_of_every_inventory_and_of_no_other_setting_of_ours() -> None:
    fleet = (Replica(INVENTORY, 1, 3002), Replica(INVENTORY, 2, 4002), Replica(ORDER, 1, 3001))
    ours = {"PATH": "/bin", "VALERIX_DATABASE_URL": "admin", "VALERIX_STATE_DIR": "x", "VALERIX_LEASE_SECONDS": "2"}
    told = environment(fleet[2], fleet, BACKING, ours)
    assert told["VALERIX_INVENTORY_URL"] == "http://127.0.0.1:3002,http://127.0.0.1:4002"
    assert told["VALERIX_DATABASE_URL"] == "postgresql://o"
    assert told["VALERIX_LEASE_SECONDS"] == "2"
    assert told["PATH"] == "/bin"
    assert "VALERIX_STATE_DIR" not in told


def test_a_log_is_put_aside_when_it_is_large_and_only_some_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "order-1.log"
    with log.open("ab") as child:
        for number in range(6):
            child.write(f"line {number}\n".encode() * 10)
            child.flush()
            assert not rotate(log, limit=100)
            assert rotate(log, limit=50, kept=3)
        child.write(b"still the same file\n")
    assert last_lines(log, 5) == ["still the same file"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"order-1.log{end}" for end in ("", ".1", ".2", ".3")]
    assert last_lines(Path(f"{log}.1"), 1) == ["line 5"]
    assert last_lines(Path(f"{log}.3"), 1) == ["line 3"]
