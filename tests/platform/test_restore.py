"""`restore.sh` of manifests/components/backup, and dumps in object storage, on real servers."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.faults.mutant_run import Buyers, Send
from tests.object_storage import RCLONE, ObjectStorage, needs_object_storage, object_storage
from tests.postgres_server import OwnServer, own_server, shop_on
from tests.processes import open_directory
from valerix_cli.audit import audit
from valerix_cli.journal import JournalWriter
from valerix_cli.local.servers import ValkeyServer

COMPONENTS = Path(__file__).parents[2] / "manifests" / "components"
LIMIT = 60  # seconds


class Pod:
    """Runs the scripts of a component as its pod does, on `own`."""

    def __init__(self, own: OwnServer, backups: Path) -> None:
        self._user = own.server.account.uid if own.server.account else None
        self.backups = backups
        programs = f"{own.server.programs}:{Path(RCLONE).parent}" if RCLONE else str(own.server.programs)
        self.environ = {
            "PATH": f"{programs}:{os.defpath}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(own.server.port),
            "ORDER_PASSWORD": own.passwords["order_service"],
            "INVENTORY_PASSWORD": own.passwords["inventory_service"],
            "BACKUPS": str(backups),
            "KEEP": "7",
        }

    def run(self, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", (COMPONENTS / script).read_text()],
            cwd="/",
            env=self.environ | environ,
            user=self._user,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def does(self, script: str, **environ: str) -> str:
        done = self.run(script, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory("restore") as made:
        yield made


@pytest.fixture
def own(directory: Path) -> Iterator[OwnServer]:
    """A server with both databases as a cluster has them after its first migration."""
    with own_server(directory / "own") as own:
        own.make()
        yield own


def add_order(own: OwnServer, key: str) -> None:
    """Add a failed order, which needs no stock."""
    with psycopg.connect(own.urls["order_service"]) as conn:
        conn.execute(
            """INSERT INTO orders
                   (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
               VALUES (gen_random_uuid(), 'ps5', 1, 'failed', %s, '', 1, 1)""",
            [key],
        )


def keys(own: OwnServer) -> set[str]:
    with psycopg.connect(own.urls["order_service"]) as conn:
        return {key for (key,) in conn.execute("SELECT idempotency_key FROM orders")}


def test_a_restore_recovers_the_dump_and_repeats_recover_later_acknowledged_orders(
    own: OwnServer, directory: Path, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    journal = tmp_path / "client.jsonl"
    before = [Send(f"before-{number}", "ps5", 1, 0) for number in range(10)]
    after = [Send(f"after-{number}", "ps5", 1, 0) for number in range(3)]
    pod = Pod(own, own.give(directory / "dumps"))
    with shop_on(own, tmp_path / "first", valkey_server.url(7)) as shop, JournalWriter(journal, "client") as writer:
        shop.stock("ps5", 100)
        shop.services.start(*shop.everyone)
        with ThreadPoolExecutor(4) as pool:
            Buyers(shop, writer, pool).send_all(before)
            pod.does("backup/dump.sh")
            Buyers(shop, writer, pool).send_all(after)

    with own_server(directory / "new", own.passwords) as new:
        new.make()  # as the first apply in a cluster does
        pod = Pod(new, pod.backups)
        assert pod.does("backup/restore.sh").count("restored") == 2
        assert audit(new.sources).verdict == "clean"
        found = audit(new.sources, journal)
        [broken] = [rule for rule in found.invariants if rule.broken]
        assert (broken.name, broken.broken) == ("acknowledged-not-lost", len(after))
        new.make()  # as the next apply does: the dump may lack its migrations
        with (
            shop_on(new, tmp_path / "second", valkey_server.url(7)) as shop,
            JournalWriter(journal, "client") as writer,
        ):
            shop.services.start(*shop.everyone)
            with ThreadPoolExecutor(4) as pool:
                Buyers(shop, writer, pool).send_all([*before, *after])
            assert shop.quantity() == 100 - len(before) - len(after)
        assert audit(new.sources, journal).verdict == "clean"


def test_a_deduction_between_the_two_dumps_is_reported_and_matched_by_a_repeat(
    own: OwnServer, directory: Path, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    pod = Pod(own, own.give(directory / "dumps"))
    with shop_on(own, tmp_path / "first", valkey_server.url(7)) as shop:
        shop.stock("ps5", 10)
        shop.services.start(*shop.everyone)
        pod.does("backup/dump.sh", BACKUPS=str(own.give(directory / "early")))
        order_id = shop.place(key="between").json()["order_id"]
    pod.does("backup/dump.sh")
    [early], [late] = (list(folder.iterdir()) for folder in (directory / "early", pod.backups))
    (early / "order_db.dump").replace(late / "order_db.dump")

    with own_server(directory / "new", own.passwords) as new:
        new.make()
        Pod(new, pod.backups).does("backup/restore.sh")
        found = audit(new.sources)
        assert {rule.name for rule in found.invariants if rule.broken} == {"deducted-means-ordered"}
        with shop_on(new, tmp_path / "again", valkey_server.url(7)) as shop:
            shop.services.start(*shop.everyone)
            assert shop.place(key="between").json()["order_id"] == order_id
            assert shop.quantity() == 9
        assert audit(new.sources).verdict == "clean"


def test_a_restore_replaces_existing_orders_only_if_confirmed(own: OwnServer, directory: Path) -> None:
    add_order(own, "early")
    pod = Pod(own, own.give(directory / "dumps"))
    pod.does("backup/dump.sh")
    add_order(own, "late")
    refused = pod.run("backup/restore.sh")
    assert (refused.returncode, "REPLACE=1" in refused.stderr) == (1, True)
    assert keys(own) == {"early", "late"}
    pod.does("backup/restore.sh", REPLACE="1")
    assert keys(own) == {"early"}


def test_a_restore_is_refused_while_a_service_is_connected(own: OwnServer, directory: Path) -> None:
    add_order(own, "early")
    pod = Pod(own, own.give(directory / "dumps"))
    pod.does("backup/dump.sh")
    for role in own.urls:
        with psycopg.connect(own.urls[role]):
            refused = pod.run("backup/restore.sh", REPLACE="1")
        assert refused.returncode == 1
        assert f"1 sessions of {role} are open" in refused.stderr
    assert keys(own) == {"early"}


def test_a_truncated_dump_changes_nothing_in_its_database(own: OwnServer, directory: Path) -> None:
    add_order(own, "early")
    pod = Pod(own, own.give(directory / "dumps"))
    pod.does("backup/dump.sh")
    [moment] = pod.backups.iterdir()
    dump = moment / "order_db.dump"
    dump.write_bytes(dump.read_bytes()[:-200])
    add_order(own, "late")
    assert pod.run("backup/restore.sh", REPLACE="1").returncode != 0
    assert keys(own) == {"early", "late"}


@pytest.fixture
def storage(directory: Path) -> Iterator[ObjectStorage]:
    (made := directory / "storage").mkdir()
    with object_storage(made) as found:
        yield found


@needs_object_storage
def test_a_dump_is_uploaded_to_object_storage_and_restored_from_it(
    own: OwnServer, storage: ObjectStorage, directory: Path
) -> None:
    add_order(own, "early")
    pod = Pod(own, own.give(directory / "dumps"))
    pod.environ |= {"REMOTE": "backups:valerix", "RCLONE_CONFIG": str(storage.configuration(directory))}
    pod.does("backup/dump.sh")
    pod.does("backup-object-storage/upload.sh")
    [moment] = [path.name for path in pod.backups.iterdir()]
    assert storage.files == {f"{moment}/{path.name}": path.read_bytes() for path in (pod.backups / moment).iterdir()}
    assert set(storage.files) == {f"{moment}/order_db.dump", f"{moment}/inventory_db.dump"}

    add_order(own, "late")
    there = Pod(own, own.give(directory / "elsewhere"))  # the volume of dumps is lost
    there.environ = pod.environ | {"BACKUPS": str(there.backups)}
    assert moment in there.does("backup-object-storage/download.sh")
    there.does("backup/restore.sh", REPLACE="1", DUMP=moment)
    assert keys(own) == {"early"}


@needs_object_storage
def test_an_upload_never_changes_existing_objects(own: OwnServer, storage: ObjectStorage, directory: Path) -> None:
    pod = Pod(own, own.give(directory / "dumps"))
    pod.environ |= {"REMOTE": "backups:valerix", "RCLONE_CONFIG": str(storage.configuration(directory))}
    pod.does("backup/dump.sh")
    pod.does("backup-object-storage/upload.sh")
    before = storage.files
    pod.does("backup-object-storage/upload.sh")  # a retried job
    [moment] = list(pod.backups.iterdir())
    (moment / "order_db.dump").write_bytes(b"encrypted by somebody")
    assert pod.run("backup-object-storage/upload.sh").returncode != 0
    assert storage.files == before


@needs_object_storage
def test_an_upload_fails_on_an_object_with_the_same_size_and_time_but_other_content(
    own: OwnServer, storage: ObjectStorage, directory: Path
) -> None:
    pod = Pod(own, own.give(directory / "dumps"))
    pod.environ |= {"REMOTE": "backups:valerix", "RCLONE_CONFIG": str(storage.configuration(directory))}
    pod.does("backup/dump.sh")
    pod.does("backup-object-storage/upload.sh")
    [moment] = list(pod.backups.iterdir())
    dump = moment / "order_db.dump"
    times = dump.stat().st_atime_ns, dump.stat().st_mtime_ns
    dump.write_bytes(bytes(reversed(dump.read_bytes())))
    os.utime(dump, ns=times)
    assert pod.run("backup-object-storage/upload.sh").returncode != 0


@needs_object_storage
@pytest.mark.parametrize("secret", ["another secret", ""])
def test_a_refused_upload_fails_the_job(own: OwnServer, storage: ObjectStorage, directory: Path, secret: str) -> None:
    pod = Pod(own, own.give(directory / "dumps"))
    pod.environ |= {"REMOTE": "backups:valerix", "RCLONE_CONFIG": str(storage.configuration(directory, secret))}
    pod.does("backup/dump.sh")
    assert pod.run("backup-object-storage/upload.sh").returncode != 0
    assert storage.files == {}
