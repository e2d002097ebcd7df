"""Mutations of the code that computes verdicts; a unit test has to catch each."""
