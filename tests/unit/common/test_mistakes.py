"""Messages of a service about invalid values: in plain words, never those of the parsing library."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

from services.common.mistakes import explain
from services.common.settings import SettingsError, read
from services.inventory.settings import InventorySettings
from services.order.settings import OrderSettings
from tests.unit.common.environment import ENVIRON, TOKENS
from tests.unit.common.services import Endpoint, Lines, ask, build
from tests.unit.common.test_bodies import BODIES, POSTS, REFUSED_BODY, send

ROOT = Path(__file__).parents[3]
TELLTALES = ("Expected `", "got `", "$.", "$[", "Object ", "Invalid enum", "matching regex", "<class", "Traceback")
WRONG: tuple[Any, ...] = ("", "\n", ".", 0, -1, 10**30, 1.5, True, None, [], {}, [1], "x" * 300, {"x": 1})


class Part(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["crash", "latency"]


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=5)]
    name: Annotated[str, msgspec.Meta(pattern="^x$", description="an x")] = "x"
    free: Annotated[str, msgspec.Meta(pattern="^y$", max_length=3)] = "y"
    id: UUID | None = None
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "`count` is missing"),
        ('{"count": "1"}', "`count` has to be a whole number, not text"),
        ('{"count": 0}', "`count` has to be a whole number, at least 1"),
        ('{"count": 6}', "`count` has to be a whole number, at most 5"),
        ('{"count": 1, "cuont": 1}', "`cuont` is no field; perhaps `count`"),
        ('{"count": 1, "zzz": 1}', "`zzz` is no field; the fields are count, name, free, id, parts"),
        ('{"count": 1, "name": "z"}', "`name` has to be an x"),
        ('{"count": 1, "free": "z"}', "`free` has to match ^y$"),
        ('{"count": 1, "free": "zzzz"}', "`free` has to have at most 3 characters"),
        ('{"count": 1, "id": "z"}', "`id` is not a UUID"),
        ('{"count": 1, "id": 1}', "`id` has to be a UUID or null, not a whole number"),
        ('{"count": 1, "parts": [{"kind": "crsh"}]}', "`parts[0].kind` may not be 'crsh': it is one of crash, latency"),
        ('{"count": 1, "parts": [{"knd": 1}]}', "`parts[0].knd` is no field; perhaps `kind`"),
        ('{"count": 1, "parts": [{}]}', "`parts[0].kind` is missing"),
        ("[]", "The body has to be an object, not a list"),
        ("{", "The body is not complete JSON"),
        ('{"count": 1}x', "The body is not valid JSON: trailing characters at byte 13"),
    ],
)
def test_a_decoding_error_names_the_part_the_value_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=Whole)
    assert explain(caught.value, Whole) == message


@pytest.mark.parametrize("endpoint", POSTS, ids=str)
async def test_no_body_error_shows_the_text_of_the_library(endpoint: Endpoint) -> None:
    good = BODIES[endpoint.template]
    bodies: list[Any] = [*WRONG, *({**good, name: value} for name in [*good, "unknown"] for value in WRONG)]
    bodies += [{name: value for name, value in good.items() if name != left} for left in good]
    texts = [json.dumps(body).encode() for body in bodies] + [b"", b"{", b"\xff", b"{1:2}", b'{"a":1,"a":2}', b"nul"]
    refused = [answer for answer in [await send(endpoint, text) for text in texts] if answer.status == REFUSED_BODY]
    assert len(refused) > len(WRONG)
    for answer in refused:
        detail = str(msgspec.json.decode(answer.body)["detail"])
        assert not [word for word in TELLTALES if word in detail], detail


def refusal_of(settings: Any, variable: str, value: str) -> str:
    try:
        read(settings, ENVIRON | {variable: value})
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("settings", [OrderSettings, InventorySettings])
def test_no_setting_error_shows_the_text_of_the_library(settings: Any) -> None:
    refused = 0
    for name in settings.__struct_fields__:
        variable = f"VALERIX_{name.upper()}"
        for value in ("x", "-1", "1e400", "nan", "\x00", "9" * 40, "a b", "http://", "x" * 5000):
            if message := refusal_of(settings, variable, value):
                refused += 1
                assert variable in message or "TOKENS" in message
                assert not [word for word in TELLTALES if word in message], message
    assert refused > len(settings.__struct_fields__)


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=501", "item_id=..", "cursor=%21", "status=lost", "idempotency_key=%20"]
)
async def test_no_parameter_error_shows_the_text_of_the_library(query: str) -> None:
    headers: Lines = [(b"authorization", b"Bearer " + TOKENS[2].encode())]
    answer = await ask(build("order"), "GET", f"/api/orders?{query}", headers)
    assert answer.status in {400, 422}
    detail = str(msgspec.json.decode(answer.body)["detail"])
    assert query.partition("=")[0] in detail
    assert not [word for word in TELLTALES if word in detail], detail


def test_both_packages_have_the_same_error_texts() -> None:
    """Neither package may import the other."""
    ours, theirs = ((ROOT / top / "mistakes.py").read_text() for top in ("services/common", "valerix_cli"))
    assert ours.partition("import re")[2] == theirs.partition("import re")[2]
