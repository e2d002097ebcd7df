"""The size of a panel."""

from dataclasses import dataclass

_WIDE = 60  # characters


@dataclass(frozen=True)
class Room:
    """`width` in characters; `tall` if the whole screen is."""

    width: int
    tall: bool

    @property
    def wide(self) -> bool:
        return self.width >= _WIDE
