"""Load against real services and misbehaving servers."""
