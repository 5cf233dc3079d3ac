"""Simulated traffic testers: one port model, and the languages in which testers speak of it."""
