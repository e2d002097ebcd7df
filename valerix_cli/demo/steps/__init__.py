"""The steps of the demo. Each is a function of a `StepContext` that returns once its condition is true."""
