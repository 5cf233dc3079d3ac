"""Simulated instruments, faithful on the wire; started through the registry, reached by address only."""
