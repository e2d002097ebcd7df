"""Load against real services, and against servers that misbehave."""
