"""A filter of all lines of the screen, which replaces unsafe characters."""

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from valerix_cli.escaping import escape, is_safe


class SafeText(LineFilter):
    """Replaces each unsafe character by a text of its width, so that the lines keep their width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the signature
        return [self._safe(segment) for segment in segments]

    @staticmethod
    def _safe(segment: Segment) -> Segment:
        text, style, control = segment
        if control or (escape(text) == text and (style is None or style.link is None)):
            return segment
        shown = "".join(char if is_safe(char) else "\N{REPLACEMENT CHARACTER}" * cell_len(char) for char in text)
        return Segment(shown, style and style.update_link(None))
