"""What is wrong with a set-up, and the fix: one small module for each group of checks, all run at once."""
