"""The languages that simulated instruments speak."""
