"""The error that ends a benchmark."""


class Broken(Exception):  # noqa: N818 - named for what it is, as the house does
    """An error with what happened, why, and the next command to run."""

    def __init__(self, what: str, why: str, try_: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  try: {try_}")
