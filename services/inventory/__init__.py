"""The warehouse: holds stock, gives each order what it asked for at most once, and misbehaves on request."""
