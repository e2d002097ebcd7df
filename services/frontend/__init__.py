"""The dashboard: what is going on, live in a browser. It owns nothing, and reads the two other services."""
