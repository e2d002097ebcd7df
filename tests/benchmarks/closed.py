"""Parameters of a closed-loop load."""

import msgspec


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A load of `clients` that each wait for the response before the next order, for `seconds`. Orders have quantity 1.

    With `items` 0 all orders are for the hot item, else they are spread evenly over that many other items. Keys begin
    with `prefix`. With `known` 0 all orders are new, else the first `known` orders of an earlier load with the same
    prefix are repeated.
    """

    clients: int
    seconds: float
    prefix: str
    seed: int
    items: int = 0
    known: int = 0
