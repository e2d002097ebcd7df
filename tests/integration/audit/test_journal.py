"""The audit compares a client's journal with the databases; journals survive truncation and concurrent writers."""

import threading
import uuid
from pathlib import Path

import psycopg
import pytest

from tests.integration.audit.tampered_databases import Books, named
from valerix_cli.errors import BadUsageError
from valerix_cli.journal import JournalReader, JournalWriter, OutcomeUnknown, RequestSent, ResponseReceived, RunStarted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "client.jsonl"


def test_a_journal_that_matches_the_orders_is_clean(books: Books, path: Path) -> None:
    confirmed, failed = books.order("run-1", "confirmed"), books.order("run-2", "failed")
    with JournalWriter(path, "run", "run-") as journal:
        first, second, third = (journal.sent(key, "ps5", 1) for key in ("run-1", "run-2", "run-3"))
        changed = journal.sent("run-1", "ps5", 2)
        journal.answered(first, 202, str(confirmed), "queued")
        journal.answered(first, 409, str(confirmed), problem="request-in-flight")
        journal.answered(first, 201, str(confirmed), "confirmed", replayed=True)
        journal.answered(changed, 422, str(confirmed), problem="idempotency-key-reused")
        journal.answered(second, 409, str(failed), problem="insufficient-stock")
        journal.unknown(third, "ReadTimeout")
    found = books.audit(path)
    assert found.verdict == "clean"
    assert (found.compared.journal_keys, named(found, "acknowledged-not-lost").checked) == (3, 2)


def test_an_acknowledged_order_that_was_deleted_is_a_violation(books: Books, path: Path) -> None:
    order_id = books.order("run-1", "confirmed")
    with JournalWriter(path, "run", "run-") as journal:
        journal.answered(journal.sent("run-1", "ps5", 1), 201, str(order_id), "confirmed")
    for statement in ("DELETE FROM orders", "DELETE FROM order_events"):
        books.orders(statement)
    books.inventory("DELETE FROM inventory_transactions WHERE transaction_type = 'deduct'")
    books.inventory("UPDATE inventory SET quantity = 100")
    assert books.broken() == {}, "the databases alone cannot tell"
    assert books.broken(path) == {"acknowledged-not-lost": ["run-1"]}


def platform_of(books: Books) -> str:
    with psycopg.connect(books.sources.orders) as conn:
        ((found,),) = conn.execute("SELECT id::text FROM platform_identity").fetchall()
        return str(found)


def test_a_journal_of_this_platform_is_compared(books: Books, path: Path) -> None:
    order_id = books.order("run-1", "confirmed")
    with JournalWriter(path, "run", "run-", platform_of(books)) as journal:
        journal.answered(journal.sent("run-1", "ps5", 1), 201, str(order_id), "confirmed")
    found = books.audit(path)
    assert (found.verdict, named(found, "acknowledged-not-lost").checked) == ("clean", 1)
    assert not [line for line in found.not_checked if "journal" in line]


def test_a_journal_of_another_platform_is_refused(books: Books, path: Path) -> None:
    order_id = books.order("run-1", "confirmed")
    with JournalWriter(path, "here", "run-", platform_of(books)) as journal:
        journal.answered(journal.sent("run-1", "ps5", 1), 201, str(order_id), "confirmed")
    with JournalWriter(path, "elsewhere", "other-", str(uuid.uuid4())) as journal:
        journal.answered(journal.sent("other-1", "ps5", 1), 201, str(uuid.uuid4()), "confirmed")
    with pytest.raises(BadUsageError, match="run elsewhere sent to platform"):
        books.audit(path)


def test_a_journal_without_a_platform_is_compared_and_reported(books: Books, path: Path) -> None:
    order_id = books.order("run-1", "confirmed")
    with JournalWriter(path, "run", "run-") as journal:
        journal.answered(journal.sent("run-1", "ps5", 1), 201, str(order_id), "confirmed")
    assert any("does not say which platform" in line for line in books.audit(path).not_checked)


def test_a_journal_with_a_platform_is_refused_by_a_schema_without_one(books: Books, path: Path) -> None:
    books.orders("DROP TABLE platform_identity")
    with JournalWriter(path, "run", "run-", str(uuid.uuid4())):
        pass
    with pytest.raises(BadUsageError, match="one without an id"):
        books.audit(path)


def test_two_orders_acknowledged_for_one_key_are_a_violation(books: Books, path: Path) -> None:
    order_id, other = books.order("run-1", "confirmed"), books.order("run-2", "confirmed")
    with JournalWriter(path, "run") as journal:
        sent = journal.sent("run-1", "ps5", 1)
        journal.answered(sent, 202, str(order_id), "queued")
        journal.answered(sent, 201, str(other), "confirmed")
    assert books.broken(path) == {"acknowledged-not-lost": ["run-1"]}


def test_an_acknowledged_outcome_that_differs_is_a_violation(books: Books, path: Path) -> None:
    order_id = books.order("run-1", "failed")
    with JournalWriter(path, "run") as journal:
        journal.answered(journal.sent("run-1", "ps5", 1), 201, str(order_id), "confirmed")
    assert books.broken(path) == {"acknowledged-not-lost": ["run-1"]}


@pytest.mark.parametrize(("quantity", "problem"), [(2, None), (2, "request-in-flight"), (1, "idempotency-key-reused")])
def test_a_response_for_another_body_or_a_refusal_of_the_same_body_is_a_violation(
    books: Books, path: Path, quantity: int, problem: str | None
) -> None:
    order_id = books.order("run-1", "confirmed", quantity=1)
    with JournalWriter(path, "run") as journal:
        sent = journal.sent("run-1", "ps5", quantity)
        journal.answered(sent, 409 if problem else 201, str(order_id), None if problem else "confirmed", problem)
    assert books.broken(path) == {"acknowledged-not-lost": ["run-1"]}


def test_an_unsent_order_is_a_violation_if_its_prefix_belongs_to_the_client(books: Books, path: Path) -> None:
    books.order("run-9", "confirmed")
    books.order("other-1", "confirmed")
    with JournalWriter(path, "run", "run-"):
        pass
    assert books.broken(path) == {"acknowledged-not-lost": ["run-9"]}


@pytest.mark.parametrize("prefix", ["run-", None])
def test_an_order_with_an_unsent_body_under_an_unanswered_key_is_a_violation(
    books: Books, path: Path, prefix: str | None
) -> None:
    books.order("run-1", "confirmed", quantity=3)
    with JournalWriter(path, "run", prefix) as journal:
        journal.unknown(journal.sent("run-1", "ps5", 3), "ReadTimeout")
    assert books.broken(path) == {}
    path.unlink()
    with JournalWriter(path, "run", prefix) as journal:
        journal.unknown(journal.sent("run-1", "ps5", 1), "ReadTimeout")
        journal.sent("run-1", "ps5", 2)
    assert books.broken(path) == {"acknowledged-not-lost": ["run-1"]}


def test_journal_entries_are_read_once_and_reading_resumes_at_the_end(path: Path) -> None:
    with JournalWriter(path, "run", "p-") as journal:
        journal.sent("p-1", "ps5", 2)
        reader = JournalReader(path)
        began, sent = reader.entries()
        assert isinstance(began, RunStarted)
        assert isinstance(sent, RequestSent)
        assert (began.key_prefix, sent.key, sent.quantity) == ("p-", "p-1", 2)
        assert list(reader.entries()) == []
        journal.answered(sent, 201, "id", "confirmed")
        journal.unknown(sent, "gone")
        answered, unknown = reader.entries()
        assert isinstance(answered, ResponseReceived)
        assert (answered.key, answered.item_id, answered.quantity) == ("p-1", "ps5", 2)
        assert isinstance(unknown, OutcomeUnknown)


def test_a_truncated_journal_line_is_skipped_and_removed_by_the_next_write(path: Path) -> None:
    with JournalWriter(path, "first") as journal:
        journal.sent("a", "ps5", 1)
    with path.open("ab") as file:
        file.write(b'{"event":"sent","key":"b","ite')
    assert len(list(JournalReader(path).entries())) == 2
    with JournalWriter(path, "second") as journal:
        journal.sent("c", "ps5", 1)
    entries = list(JournalReader(path).entries())
    assert [entry.key for entry in entries if isinstance(entry, RequestSent)] == ["a", "c"]
    assert [entry.run for entry in entries if isinstance(entry, RunStarted)] == ["first", "second"]


@pytest.mark.parametrize("cut", [1, 70_000, 200_000])
def test_only_the_truncated_journal_line_is_removed(path: Path, cut: int) -> None:
    with JournalWriter(path, "first"):
        pass
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write((b'{"event":"sent","at":"' + b"x" * cut)[:cut])
    with JournalWriter(path, "second"):
        pass
    assert path.read_bytes().startswith(whole)
    assert [type(entry) for entry in JournalReader(path).entries()] == [RunStarted, RunStarted]


def test_journal_lines_of_concurrent_threads_do_not_interleave(path: Path) -> None:
    with JournalWriter(path, "run") as journal:

        def send(name: str) -> None:
            for number in range(20):
                journal.sent(f"{name}-{number}", "ps5", 1)

        threads = [threading.Thread(target=send, args=(f"t{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(JournalReader(path).entries())) == 81


def test_an_invalid_journal_is_refused_with_its_line(books: Books, path: Path) -> None:
    path.write_text("not json\n")
    with pytest.raises(BadUsageError, match="line 1"):
        books.audit(path)
    with pytest.raises(BadUsageError, match="cannot be read"):
        books.audit(path / "nowhere")
    with pytest.raises(BadUsageError, match="cannot be written"):
        JournalWriter(path / "nowhere", "run")
    with pytest.raises(BadUsageError, match="not a regular file"):
        JournalWriter(Path("/dev/full"), "run")
