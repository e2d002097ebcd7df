"""Point-in-time recovery from a base backup and archived WAL, with the commands of docs/deploy.md."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from tests.e2e.shop import Shop
from tests.faults.mutant_run import Buyers, Send
from tests.postgres_server import OwnServer, own_server, shop_on
from tests.processes import eventually, open_directory
from valerix_cli.audit import audit
from valerix_cli.journal import JournalReader, JournalWriter, RunStarted
from valerix_cli.local.servers import ValkeyServer

AT_ONCE = 4


@dataclass(frozen=True)
class Archive:
    """A server's WAL archive and base backup."""

    directory: Path

    @property
    def wal(self) -> Path:
        return self.directory / "wal"

    @property
    def base(self) -> Path:
        return self.directory / "base"

    def take_base_backup(self, own: OwnServer) -> None:
        url = own.server.url("postgres")
        own.run("pg_basebackup", f"--dbname={url}", f"--pgdata={self.base}", "--wal-method=none", "--checkpoint=fast")

    def restore(self, directory: Path, version: str, until: datetime) -> None:
        """Restore the base backup to a server that replays the archive up to a moment, and then accepts writes."""
        directory.mkdir()
        directory.chmod(0o711)
        data = directory / version
        self.base.rename(data)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self.wal}/%f %p'\n")
            settings.write(f"recovery_target_time = '{until.isoformat()}'\n")
            settings.write("recovery_target_action = promote\narchive_mode = off\n")
        (data / "recovery.signal").touch()


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory("recovery") as made:
        yield made


def set_up(own: OwnServer, directory: Path) -> Archive:
    """Create the databases, and enable WAL archiving from the server's next start."""
    own.make()
    archive = Archive(own.give(directory))
    own.give(archive.wal)
    own.tell(
        "ALTER SYSTEM SET archive_mode = on",
        f"ALTER SYSTEM SET archive_command = 'test ! -f {archive.wal}/%f && cp %p {archive.wal}/%f'",
    )
    return archive


def until(journal: Path, moment: datetime, directory: Path) -> Path:
    """Write a copy of a journal without the entries from `moment` on; return its path."""
    with JournalWriter(path := directory / "until.jsonl", "until") as kept:
        kept.write(
            *(entry for entry in JournalReader(journal).entries() if isinstance(entry, RunStarted) or entry.at < moment)
        )
    return path


def buy(shop: Shop, writer: JournalWriter, sends: list[Send]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Buyers(shop, writer, pool).send_all(sends)
    assert {answer.status_code for answer in answers if answer} <= {201, 202}
    assert set(shop.wait_settled().values()) == {"confirmed"}


def moment_of(own: OwnServer) -> datetime:
    """Return the server's current time: all commits so far are earlier, and all others later."""
    with psycopg.connect(own.server.url("postgres")) as conn:
        ((now,),) = conn.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(now, datetime)
    return now


def test_point_in_time_recovery_restores_a_dropped_table_and_the_audit_names_later_orders(
    directory: Path, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    journal = tmp_path / "client.jsonl"
    before = [Send(f"before-{number}", "ps5", 1, 0) for number in range(20)]
    after = [Send(f"after-{number}", "ps5", 1, 0) for number in range(5)]

    with own_server(directory / "first") as own:
        archive = set_up(own, directory / "archive")
    with own_server(directory / "first", own.passwords) as own:  # restarted, so it archives
        with shop_on(own, tmp_path / "first", valkey_server.url(7)) as shop, JournalWriter(journal, "client") as writer:
            shop.stock("ps5", 100)
            archive.take_base_backup(own)
            shop.services.start(*shop.everyone)
            buy(shop, writer, before)
            moment = moment_of(own)
            buy(shop, writer, after)
        own.tell("DROP TABLE orders CASCADE", database="order_db")
        segment = own_segment(own)
        own.tell("SELECT pg_switch_wal()")
        eventually((archive.wal / segment).exists, 30, f"{segment} archived")

    archive.restore(directory / "second", own.server.data.name, moment)
    with own_server(directory / "second", own.passwords) as restored:
        eventually(lambda: not in_recovery(restored), 30, "promoted")
        own_books = audit(restored.sources)
        assert own_books.verdict == "clean", "both databases are as of one moment"
        assert own_books.compared.orders == {"confirmed": len(before)}
        assert audit(restored.sources, until(journal, moment, tmp_path)).verdict == "clean"
        found = audit(restored.sources, journal)
        [broken] = [rule for rule in found.invariants if rule.broken]
        assert (found.verdict, broken.name, broken.broken) == ("violated", "acknowledged-not-lost", len(after))
        assert {example.subject for example in broken.examples} <= {send.key for send in after}

        restored.make()
        with (
            shop_on(
                restored, tmp_path / "second", valkey_server.url(7)
            ) as shop,  # the old cache: its responses are not trusted
            JournalWriter(journal, "client") as writer,
        ):
            shop.services.start(*shop.everyone)
            assert shop.quantity() == 100 - len(before)
            buy(shop, writer, before)
            assert shop.quantity() == 100 - len(before), "a key of before the moment is answered as it was"
            buy(shop, writer, after)
            assert shop.quantity() == 100 - len(before) - len(after), "a key of after it is an order once more"
            shop.assert_exactly_one_effect()
        assert audit(restored.sources, journal).verdict == "clean", "once every client has repeated what it was told"


def own_segment(own: OwnServer) -> str:
    with psycopg.connect(own.server.url("postgres")) as conn:
        ((name,),) = conn.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()
    return str(name)


def in_recovery(own: OwnServer) -> bool:
    with psycopg.connect(own.server.url("postgres")) as conn:
        return conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
