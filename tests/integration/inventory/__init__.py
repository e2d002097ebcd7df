"""The warehouse on real databases and over real HTTP."""
