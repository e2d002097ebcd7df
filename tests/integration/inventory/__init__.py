"""The inventory service on real databases and over real HTTP."""
