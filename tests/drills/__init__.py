"""The drills that come with Valerix, run for real."""
