"""The demo: the order that would not duplicate, in steps that are carried out for real."""
