"""The views: each returns a Rich renderable of a value."""
