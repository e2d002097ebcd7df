"""The shipped drills, run for real."""
