"""What the user asked `valerix up` for."""

from typing import Literal

import msgspec


class Wishes(msgspec.Struct, frozen=True):
    """How many replicas of which kind (one where nothing is said), and whose PostgreSQL.

    `postgres` None means: the one that VALERIX_DATABASE_URL names, else the embedded one.
    """

    replicas: dict[str, int] = {}
    postgres: Literal["embedded", "system"] | None = None
