"""Tests by their dependencies: unit needs none, integration real databases and processes, platform everything."""
