"""Session cookies, and the revocations that end sessions."""

import pytest

from services.frontend.revocations import MAX_ENTRIES, Revocations
from services.frontend.sessions import MAX_COOKIE_BYTES, SESSION_SECONDS, Session, Sessions
from services.frontend.sign_in import key_of

KEY = key_of("p-93be07d1c6a8f245")
NOW = 1_790_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(KEY, Revocations(None, SESSION_SECONDS, clock=clock), is_secure=False, clock=clock)


def cookie(sessions: Sessions, session: Session) -> bytes:
    return sessions.set_cookie(session).partition(b";")[0]


def test_a_session_ends_however_much_it_is_used(sessions: Sessions, clock: Clock) -> None:
    value = cookie(sessions, sessions.new(operator=True))
    while clock.now < NOW + SESSION_SECONDS:
        found = sessions.read([value])
        assert found is not None
        assert found.is_operator
        value = cookie(sessions, found)
        clock.now += SESSION_SECONDS / 10
    assert sessions.read([value]) is None


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_clock_that_jumps_and_returns_revives_no_session(sessions: Sessions, clock: Clock, jump: float) -> None:
    ended, kept = sessions.new(operator=True), sessions.new(operator=True)
    await sessions.revocations.revoke_session(ended.id, ended.ends)
    for now in (NOW + jump, NOW):
        clock.now = now
        await sessions.revocations.sync()
        assert sessions.read([cookie(sessions, ended)]) is None
    assert sessions.read([cookie(sessions, kept)]) is not None


def test_a_session_from_the_future_is_refused(sessions: Sessions, clock: Clock) -> None:
    """It began while a clock was a day ahead, and would last a day too long."""
    clock.now += 86_400
    value = cookie(sessions, sessions.new(operator=True))
    clock.now -= 86_400
    assert sessions.read([value]) is None


def test_an_operators_cookie_is_preferred_to_other_valid_ones(sessions: Sessions) -> None:
    operator, guest = (cookie(sessions, sessions.new(operator=one)) for one in (True, False))
    bad = sessions.name + b"=x.y"
    for lines in ([bad + b"; " + guest + b";" + operator], [operator, guest, bad], [b"a=b", bad, guest, operator]):
        found = sessions.read(lines)
        assert found is not None
        assert found.is_operator
    found = sessions.read([bad, guest])
    assert found is not None
    assert not found.is_operator
    assert sessions.read([bad]) is None


def test_data_too_large_for_a_cookie_is_dropped(sessions: Sessions) -> None:
    session = sessions.new(operator=True)
    session.data["sent"] = "x" * 10_000
    value = cookie(sessions, session)
    assert len(value) < MAX_COOKIE_BYTES
    found = sessions.read([value])
    assert found is not None
    assert (found.id, found.data) == (session.id, {})


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_cookie_is_strict_bounded_and_named_after_the_password_alone(clock: Clock, *, is_secure: bool) -> None:
    revocations = Revocations(None, SESSION_SECONDS, clock=clock)
    replicas = [Sessions(KEY, revocations, is_secure=is_secure, clock=clock) for _ in range(2)]
    other = Sessions(key_of("p-of-another-platform"), revocations, is_secure=is_secure, clock=clock)
    assert replicas[0].name == replicas[1].name != other.name
    assert replicas[0].name.startswith(b"__Host-valerix-" if is_secure else b"valerix-")
    for header in (replicas[0].set_cookie(replicas[0].new()), replicas[0].clear_cookie()):
        attributes = header.decode().split("; ")[1:]
        assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= {*attributes}
        assert ("Secure" in attributes) is is_secure
        assert attributes[-1] in {f"Max-Age={SESSION_SECONDS}", "Max-Age=0"}
        assert "Domain" not in header.decode()


def test_every_byte_of_a_cookie_is_signed(sessions: Sessions) -> None:
    value = cookie(sessions, sessions.new(operator=True))
    for index in range(len(sessions.name) + 1, len(value)):
        changed = value[:index] + (b"A" if value[index : index + 1] != b"A" else b"B") + value[index + 1 :]
        assert sessions.read([changed]) is None
        assert sessions.read([value[:index]]) is None


def test_a_session_of_an_unknown_generation_is_refused(clock: Clock) -> None:
    """It cannot know the sign-outs of that generation."""
    here, there = (
        Sessions(KEY, Revocations(None, SESSION_SECONDS, clock=clock), is_secure=False, clock=clock) for _ in range(2)
    )
    assert there.read([cookie(here, here.new(operator=True))]) is None
    assert there.read([cookie(here, here.new())]) is not None


async def test_foreign_redis_entries_use_bounded_memory(clock: Clock) -> None:
    """Entries without an end, without meaning, or in excess."""
    revocations = Revocations(None, SESSION_SECONDS, clock=clock)
    revocations.learn(b"session:for-ever", "inf")
    revocations.learn(b"\xff\xfe", NOW + 1)
    for number in range(2 * MAX_ENTRIES):
        revocations.learn(f"session:{number}".encode(), NOW + 60)
    assert len(vars(revocations)["_ends"]) <= MAX_ENTRIES
    await revocations.revoke_session("mine", NOW + 60)
    assert not revocations.accepts(revocations.generation, "mine")
