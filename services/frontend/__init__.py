"""The dashboard: shows the platform live in a browser. It stores no data and reads the other services."""
