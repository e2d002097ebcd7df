"""A conversation on a new connection, and the check of its responses."""

import httptools

from tests.fuzz.messages import ISSUED, Conversation
from tests.raw_http import Answer, connected

QUIET = 0.25  # seconds without a response after which none is expected: the message may be incomplete
PATIENCE = 30.0  # seconds for the responses to a valid message, on a busy machine
ALLOWED = frozenset({501, 503})  # server errors that are no findings
NGINX = frozenset({505})  # sent by nginx itself


def talk(what: Conversation, port: int, *, through_nginx: bool) -> str | None:
    """Run a conversation. Return the finding, or None."""
    try:
        with connected(port, timeout=5) as connection:
            for piece in what.pieces:
                connection.send(piece)
            connection.socket.settimeout(PATIENCE if what.is_valid else QUIET)
            answers: list[Answer] = []
            try:
                while (answer := connection.next()) is not None:
                    answers.append(answer)
                    if answer.request_id == what.ids[2]:
                        break
            except TimeoutError:
                if what.is_valid:
                    return f"no answer to a valid message; before it: {_shown(answers)}"
    except httptools.HttpParserError as error:
        if through_nginx and not what.is_valid:
            return None  # nginx responds with HTTP/0.9, which has no heads
        return f"an answer that is no HTTP: {error}"
    except (TimeoutError, ConnectionError) as error:
        return f"cannot connect: {error!r}"
    return evaluate(what, answers, through_nginx=through_nginx)


def evaluate(what: Conversation, answers: list[Answer], *, through_nginx: bool) -> str | None:
    """Return the finding about the responses to a conversation, or None."""
    seen = [answer.request_id for answer in answers]
    errors = [a.status for a in answers if a.status >= 500 and a.status not in ALLOWED]
    if through_nginx:
        errors = [status for status in errors if status not in NGINX]
    if errors:
        return f"a server error: {_shown(answers)}"
    if foreign := [one for one in seen if one in ISSUED and one not in what.ids]:
        return f"an answer to another connection: {foreign}"
    ranks = [what.ids.index(one) for one in seen if one in what.ids[:3]]
    if ranks != sorted(set(ranks)):
        return f"answers out of turn: {_shown(answers)}"
    if seen[:1] not in ([what.ids[0]], []):
        return f"the first answer is not to the first request: {_shown(answers)}"
    if any(a.headers.get("connection") == "close" for a in answers[:-1]):
        return f"an answer after the last: {_shown(answers)}"
    return _evaluate_valid(what, answers, seen, through_nginx=through_nginx) if what.is_valid else None


def _evaluate_valid(what: Conversation, answers: list[Answer], seen: list[str], *, through_nginx: bool) -> str | None:
    if what.ids[3] in seen:
        return f"what is in a body was answered: {_shown(answers)}"
    closes = bool(answers) and answers[-1].headers.get("connection") == "close"
    closes |= through_nginx  # which closes silently if a response precedes the end of the body
    if seen != list(what.ids[:3]) and not (closes and 2 <= len(seen) < 3):
        return f"a valid message is not answered in its turn: {_shown(answers)}"
    return None


def _shown(answers: list[Answer]) -> str:
    return ", ".join(f"{a.status} to {a.request_id} ({a.headers.get('connection', 'open')})" for a in answers) or "none"
