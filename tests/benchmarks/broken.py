"""What a benchmark ends with when it cannot go on."""


class Broken(Exception):  # noqa: N818 - named for what it is, as the house does
    """What happened, why, and what to type next."""

    def __init__(self, what: str, why: str, try_: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  try: {try_}")
