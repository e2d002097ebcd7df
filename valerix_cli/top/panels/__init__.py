"""The content of each panel as a function of the snapshot: one module per subject."""
