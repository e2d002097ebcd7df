"""A closed-loop load, as a value."""

import msgspec


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """So many `clients` that each wait for their answer, for so many `seconds`; orders of one each.

    `items` 0 is the hot item, else so many of the others, each alike. Keys begin with `prefix`. `known` 0 sends new
    orders, else the first so many of an earlier load with this prefix again and again.
    """

    clients: int
    seconds: float
    prefix: str
    seed: int
    items: int = 0
    known: int = 0
