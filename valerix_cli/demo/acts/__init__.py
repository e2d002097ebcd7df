"""What the steps do. Each is a function of a `Play` that returns once its condition has come true."""
