"""Simulated storage and the programs that measure it."""
