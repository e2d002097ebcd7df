"""The fuzzer's messages are reproducible, and its checks detect wrong responses."""

import pytest

from tests.fuzz.conversation import evaluate
from tests.fuzz.messages import PATHS, Conversation, conversation
from tests.raw_http import Answer

HOST = b"127.0.0.1:3001"


def test_the_same_seed_sends_the_same_bytes() -> None:
    first, second, other = (
        [conversation(seed, service, number, HOST) for service in PATHS for number in range(50)] for seed in (7, 7, 8)
    )
    assert first == second
    assert {one.pieces for one in first}.isdisjoint(one.pieces for one in other)
    assert {one.is_valid for one in first} == {True, False}


def answered(*ids: str, status: int = 200, last: str | None = None) -> list[Answer]:
    answers = [Answer(status, {"x-request-id": one}) for one in ids]
    if last:
        answers[-1].headers["connection"] = last
    return answers


def test_every_kind_of_wrong_response_is_detected() -> None:
    valid = next(one for one in (conversation(1, "order", n, HOST) for n in range(99)) if one.is_valid)
    mutated = Conversation(valid.name, valid.pieces, valid.ids, is_valid=False)
    other = conversation(2, "order", 1, HOST)
    before, message, behind, hidden = valid.ids

    def found(what: Conversation, answers: list[Answer]) -> bool:
        return evaluate(what, answers, through_nginx=False) is not None

    assert not found(valid, answered(before, message, behind))
    assert not found(valid, answered(before, message, last="close"))
    assert not found(mutated, answered(before))
    for what in (valid, mutated):
        assert found(what, answered(before, other.ids[1]))
        assert found(what, answered(before, behind, message))
        assert found(what, answered(before, message, message))
        assert found(what, answered(message, behind))
        assert found(what, answered(before, status=500))
        assert found(what, answered(before, last="close") + answered(message))
    assert found(valid, answered(before, message))
    assert found(valid, answered(before, message, hidden, behind))


@pytest.mark.parametrize("status", [501, 503])
def test_two_server_errors_are_allowed(status: int) -> None:
    what = conversation(1, "order", 1, HOST)
    assert (
        evaluate(what, answered(what.ids[0], status=status, last="close"), through_nginx=False) is None or what.is_valid
    )
