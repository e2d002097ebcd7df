"""The story of the order that would not duplicate: told step by step, each step done for real."""
