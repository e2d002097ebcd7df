"""A value in, something Rich can draw out."""
