"""Reports of a receipt: JUnit for a pipeline, Markdown for a pull request, one HTML page for people."""

from valerix_cli.files import Kind
from valerix_cli.reports.html import HEAD, html
from valerix_cli.reports.junit import junit
from valerix_cli.reports.markdown import markdown

__all__ = ["HTML", "JUNIT", "MARKDOWN", "html", "junit", "markdown"]

JUNIT = Kind("a JUnit report of valerix", lambda head: b'<testsuites name="valerix drills"' in head[:200])
HTML = Kind("a receipt of valerix", lambda head: head.startswith(HEAD.encode()))
MARKDOWN = Kind("a receipt of valerix", lambda head: head.startswith(b"# Drill "))
