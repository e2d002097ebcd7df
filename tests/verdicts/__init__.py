"""Mistakes put into the code that makes verdicts, each of which a unit test has to catch."""
