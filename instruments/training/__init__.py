"""Drivers of training jobs."""
