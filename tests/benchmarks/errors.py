"""The error that ends a benchmark."""


class Broken(Exception):  # noqa: N818 - exceptions are named for their reason here
    """An error with what happened, why, and the next command to run."""

    def __init__(self, what: str, why: str, try_: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  try: {try_}")
