"""Tests by what they touch: unit nothing, integration real databases and processes, platform the whole."""
