"""The exception that ends a drill early."""


class Aborted(Exception):  # noqa: N818 - a reason to end early, not an error
    """The drill ends early. The message is the reason."""
