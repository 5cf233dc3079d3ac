"""Drivers of power meters and power analyzers."""
