"""Drivers, one module a model family; found by entry point, never imported by the core."""
