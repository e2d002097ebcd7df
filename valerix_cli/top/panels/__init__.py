"""What each panel shows, as a function of a snapshot: one module per subject."""
