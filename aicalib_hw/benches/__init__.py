"""Bench files that are shipped: open one by its name, or copy it and make it your own."""
