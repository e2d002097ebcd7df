"""Fault injection on a platform of real processes: the faults that it survives and the guarantees that hold."""
