"""The warehouse's decisions, without any I/O."""
