"""A receipt as a document: JUnit for a pipeline, Markdown for a pull request, one HTML page for people."""

from valerix_cli.drills.documents.html import html
from valerix_cli.drills.documents.junit import junit
from valerix_cli.drills.documents.markdown import markdown

__all__ = ["html", "junit", "markdown"]
