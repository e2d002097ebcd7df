"""The demo: the story of the order that would not duplicate, in real steps."""
