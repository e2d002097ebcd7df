"""What the audit compares, without a database: lines of buckets, answers of a journal, answers of a cache."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from valerix_cli.audit import acknowledged, cache, lines, model
from valerix_cli.audit.acknowledged import Client, Row, Told
from valerix_cli.audit.cache import Cached, CachedOrder
from valerix_cli.audit.lines import Bucket, Comparison, Missing, Refusals, Tally
from valerix_cli.audit.model import SHOWN, Example, Found
from valerix_cli.journal import Answered, JournalWriter

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def bucket(number: int, *rows: str) -> Bucket:
    """Sorted lines `order item quantity`, as the databases give them."""
    there = sorted(row.replace(" ", "\t") for row in rows)
    return Bucket(number, len(there), len({row.partition("\t")[0] for row in there}), "\n".join(there))


def compared(confirmed: list[Bucket], deducted: list[Bucket], living: list[Bucket]) -> Comparison:
    comparison = Comparison()
    comparison.run(confirmed, deducted, living)
    return comparison


def told(found: Found) -> list[tuple[str, str]]:
    return [(example.subject, example.wrong) for example in found.examples]


ONE, TWO, THREE = "one ps5 1", "two ps5 2", "three xbox 1"


def test_equal_books_are_counted_and_nothing_is_wrong() -> None:
    books = [bucket(1, ONE, TWO), bucket(7, THREE)]
    found = compared(books, books, books)
    assert (found.confirmed.found, found.deducted.found, found.ids.found) == (Found(3, 0, []),) * 3
    assert found.missing == []


def test_a_confirmed_order_without_its_deduction_is_named_and_kept_for_a_repair() -> None:
    found = compared([bucket(1, ONE, TWO)], [bucket(1, TWO)], [bucket(1, ONE, TWO)])
    assert told(found.confirmed.found) == [("one", "it is confirmed, 1 x ps5, and nothing is deducted for it")]
    assert found.missing == [Missing("one", "ps5", 1)]
    assert (found.confirmed.checked, found.deducted.checked, found.deducted.broken) == (2, 1, 0)


def test_a_deduction_of_something_else_is_named_and_not_repaired() -> None:
    found = compared([bucket(1, ONE)], [bucket(1, "one ps5 3")], [bucket(1, "one ps5 3")])
    assert told(found.confirmed.found) == [("one", "it is confirmed, 1 x ps5, and the ledger has 3 x ps5 for it")]
    assert found.missing == []


def test_a_deduction_without_an_order_or_for_another_order_is_named() -> None:
    found = compared([], [bucket(1, ONE, TWO)], [bucket(1, "two ps5 9")])
    assert told(found.deducted.found) == [
        ("one", "1 x ps5 were deducted, and no order that has not failed has this id"),
        ("two", "2 x ps5 were deducted, and the order is for 9 x ps5"),
    ]


def test_a_second_deduction_and_a_second_order_of_one_id_are_named() -> None:
    twice = bucket(1, ONE, ONE, TWO)
    found = compared([bucket(1, ONE, TWO)], [twice], [bucket(1, ONE, TWO)])
    assert told(found.confirmed.found) == [("one", "2 deductions stand in the ledger for it")]
    found = compared([bucket(1, ONE, TWO)], [bucket(1, ONE, TWO)], [twice])
    assert told(found.ids.found) == [("one", "2 orders have this id")]


def test_streams_are_laid_beside_each_other_by_the_number_of_a_bucket() -> None:
    found = compared([bucket(1, ONE), bucket(3, THREE)], [bucket(2, TWO), bucket(3, THREE)], [bucket(2, TWO)])
    assert [subject for subject, _ in told(found.confirmed.found)] == ["one"]
    assert [subject for subject, _ in told(found.deducted.found)] == ["three"]
    assert (found.confirmed.checked, found.deducted.checked, found.ids.checked) == (2, 2, 1)


@pytest.mark.parametrize(("quantity", "kept"), [("2", 1), ("x", 0)])
def test_a_repair_takes_as_many_as_are_kept_and_none_of_which_nobody_knows_how_many(
    monkeypatch: pytest.MonkeyPatch, quantity: str, kept: int
) -> None:
    monkeypatch.setattr(lines, "KEPT", 1)
    found = compared([bucket(1, f"one ps5 {quantity}", f"two ps5 {quantity}")], [], [])
    assert (len(found.missing), found.confirmed.broken) == (kept, 2)


def test_all_that_is_wrong_is_counted_and_the_first_are_shown() -> None:
    tally = Tally()
    for number in range(SHOWN + 5):
        tally.add(str(number), "it is wrong")
    assert (tally.found.broken, len(tally.found.examples)) == (SHOWN + 5, SHOWN)
    assert told(tally.found)[0] == ("0", "it is wrong")
    both = Found(3, 2, [Example("a", "wrong")] * SHOWN).plus(Found(5, 1, [Example("b", "wrong")]))
    assert (both.checked, both.broken, len(both.examples)) == (5, 3, SHOWN)
    assert Found(5).plus(Found(3)).checked == 5
    assert told(Found(1, 1, [Example("a", "old")]).plus(Found(1, 1, [Example("b", "new")]))) == [
        ("a", "old"),
        ("b", "new"),
    ]
    assert len(model.SETTLED.judge(Found(20, 20, [Example("a", "old")] * 20)).examples) == SHOWN


def refusals(failed: list[Bucket], refused: list[Bucket], unconfirmed: list[Bucket]) -> tuple[Found, Found]:
    found = Refusals()
    found.hold_failed(failed, refused)
    found.hold_refused(refused, unconfirmed)
    return found.failed.found, found.refused.found


def test_a_failed_order_has_its_refusal_and_a_refusal_its_order() -> None:
    both = [bucket(1, "one ps5 1 insufficient-stock", "two ps5 1 unknown-item")]
    assert refusals(both, both, both) == (Found(2, 0, []), Found(2, 0, []))
    failed, _ = refusals(both, [bucket(1, "one ps5 1 unknown-item")], both)
    assert told(failed) == [
        (
            "one",
            "it has failed, 1 x ps5 (insufficient-stock), and it was refused for 1 x ps5 (unknown-item)",
        ),
        ("two", "it has failed, 1 x ps5 (unknown-item), and no refusal stands for it"),
    ]
    _, refused = refusals([], [bucket(1, ONE, TWO)], [bucket(1, "two ps5 9")])
    assert told(refused) == [
        ("one", "1 x ps5 was refused, and no order that it may be of"),
        ("two", "2 x ps5 was refused, and the order is for 9 x ps5"),
    ]
    assert refusals([], [bucket(1, ONE)], [bucket(1, ONE, TWO)])[1] == Found(1, 0, [])


ROW = Row("a-key", "id-1", "confirmed", "ps5", 1)
TOLD = Told(["id-1"], ["confirmed"], [("ps5", 1)], [])


@pytest.mark.parametrize(
    ("known", "wrong"),
    [
        (TOLD, None),
        (Told(["id-1"], [], [], []), None),
        (Told(["id-1"], ["confirmed"], [("ps5", 1)], [("xbox", 1)]), None),
        (Told(["id-2"], ["confirmed"], [("ps5", 1)], []), "the client received order id-2, and it is id-1"),
        (Told(["id-1", "id-2"], [], [], []), "the client received order id-1 and id-2, and it is id-1"),
        (Told(["id-1"], ["failed"], [("ps5", 1)], []), "the client received failed, and order id-1 is confirmed"),
        (
            Told(["id-1"], ["confirmed", "failed"], [], []),
            "the client received confirmed and failed, and order id-1 is confirmed",
        ),
        (
            Told(["id-1"], [], [("ps5", 1), ("ps5", 2)], []),
            "2 x ps5 was answered with order id-1, which is for 1 x ps5",
        ),
        (
            Told(["id-1"], [], [], [("ps5", 1)]),
            "1 x ps5 was refused as another body, and order id-1 is for just that",
        ),
    ],
)
def test_a_client_was_told_what_its_row_says(known: Told, wrong: str | None) -> None:
    found = acknowledged.compare({"a-key": known}, [ROW, msgspec.structs.replace(ROW, key="of another client")])
    assert (found.checked, told(found)) == (1, [("a-key", wrong)] if wrong else [])


def test_an_acknowledged_order_that_is_gone_and_one_that_nobody_sent_are_named() -> None:
    assert told(acknowledged.compare({"a-key": TOLD}, [])) == [
        ("a-key", "the client received order id-1, and there is none")
    ]
    assert told(acknowledged.strangers([ROW])) == [("a-key", "order id-1 exists, and the client never sent this key")]
    assert told(acknowledged.never_sent([ROW])) == [
        ("a-key", "order id-1 is for 1 x ps5, which the client never sent under this key")
    ]
    assert acknowledged.is_other(ROW, {"a-key": [("xbox", 1)]})
    assert not acknowledged.is_other(ROW, {"a-key": [("xbox", 1), ("ps5", 1)]})


def answer(
    key: str, *, status: str | None = None, problem: str | None = None, order_id: str | None = "id-1"
) -> Answered:
    return Answered(
        at=NOON, key=key, item_id="ps5", quantity=1, http_status=201, order_id=order_id, order_status=status,
        problem=problem, replayed=False,
    )  # fmt: skip


def test_a_journal_says_what_was_sent_and_told(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "journal", "load", "k-", "here") as journal:
        for key in ("k-1", "k-1", "k-2", "k-3", "k-4", "k-5"):
            journal.sent(key, "ps5", 1)
        journal.write(
            answer("k-1", status="queued"),
            answer("k-1", status="confirmed"),
            answer("k-2", problem="insufficient-stock"),
            answer("k-3", problem="idempotency-key-reused"),
            answer("k-4", problem="queue-full", order_id=None),
            answer("k-5", problem="unknown-item"),
        )
    client = Client(tmp_path / "journal")
    client.read_on()
    assert client.prefixes == {"k-"}
    assert client.platforms == {"here": "load"}
    assert client.sent == {f"k-{number}": [("ps5", 1)] for number in range(1, 6)}
    body = [("ps5", 1)]
    assert client.told == {
        "k-1": Told(["id-1"], ["confirmed"], body, []),
        "k-2": Told(["id-1"], ["failed"], body, []),
        "k-3": Told(["id-1"], [], [], body),
        "k-5": Told(["id-1"], ["failed"], body, []),
    }


def test_a_journal_without_a_prefix_claims_no_keys(tmp_path: Path) -> None:
    JournalWriter(tmp_path / "journal", "order place").close()
    client = Client(tmp_path / "journal")
    client.read_on()
    assert client.prefixes == set()


CACHED = CachedOrder("id-1", "ps5", 1, "confirmed")


def test_a_cached_answer_is_as_its_row_says() -> None:
    other = msgspec.structs.replace(ROW, key="not-cached")
    assert cache.compare({"a-key": CACHED}, [ROW, other]) == Found(1, 0, [])
    assert told(cache.compare({"a-key": CACHED}, [msgspec.structs.replace(ROW, status="failed")])) == [
        (
            "a-key",
            "Redis answers it with order id-1, 1 x ps5, confirmed, and there is order id-1, 1 x ps5, failed",
        )
    ]
    assert told(cache.compare({"a-key": CACHED}, [])) == [
        ("a-key", "Redis answers it with order id-1, 1 x ps5, confirmed, and there is none")
    ]


def test_only_answers_that_a_service_of_this_database_believes_count() -> None:
    ours = hashlib.blake2b(b"this database", digest_size=16).hexdigest()
    known = Cached({("elsewhere", "a-key"): CACHED, (ours, "b-key"): CACHED})
    assert known.of("this database") == {"b-key": CACHED}
    assert known.of("whoever") == {}
    assert (known.is_all, known.why_not) == (True, None)


def test_an_answer_of_another_version_is_nobodys() -> None:
    good = b'{"order":{"order_id":"id-1","item_id":"ps5","quantity":1,"status":"confirmed"},"origin":"here"}'
    read = cache._decode(good)  # noqa: SLF001 - what is read of each answer
    assert read is not None
    assert (read.order, read.origin) == (CACHED, "here")
    assert cache._decode(b'{"v":2}') is None  # noqa: SLF001 - the same
    assert cache._decode(None) is None  # noqa: SLF001 - the same


def test_a_rule_is_judged_by_what_was_found_and_the_worst_counts() -> None:
    held = model.NO_OVERSELL.judge(Found(3))
    violated = model.NO_OVERSELL.judge(Found(3, 1))
    unsettled = model.SETTLED.judge(Found(3, 1))
    unchecked = model.CACHE_AGREES.unchecked()
    assert [one.verdict for one in (held, violated, unsettled, unchecked)] == [
        "held",
        "violated",
        "unsettled",
        "not-checked",
    ]
    assert (unchecked.checked, unchecked.broken) == (0, 0)
    assert model.conclude([held, unchecked]) == "clean"
    assert model.conclude([held, unsettled]) == "unsettled"
    assert model.conclude([unsettled, violated]) == "violated"
